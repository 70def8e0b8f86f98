//! One type for every kernel: buffers bind by name, parameters are checked, the grid follows from `rows`.
//! What a shader must declare for that is said in [`super::reflect`].

use std::marker::PhantomData;
use std::sync::Arc;

use super::bound::{Bound, Given};
use super::buffer::ALIGNED_ROWS;
use super::compiled::{self, Compiled};
use super::context::lock;
use super::reflect::{Access, Binding, Reflection};
use super::{Buffer, Context, Spec};
use crate::{Error, Result};

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// `u32`
    U32,
    /// `i32`
    I32,
    /// `f32`
    F32,
}

/// A host struct that mirrors one of a shader's, its `Params` or what a storage array holds; made by [`params!`].
pub trait Params: bytemuck::Pod {
    /// Name, byte offset and type of each field.
    const FIELDS: &'static [(&'static str, usize, ParamType)];
}

/// A type that a field of [`Params`] may have.
pub trait ParamField {
    /// The shader's type.
    const TYPE: ParamType;
}

impl ParamField for u32 {
    const TYPE: ParamType = ParamType::U32;
}
impl ParamField for i32 {
    const TYPE: ParamType = ParamType::I32;
}
impl ParamField for f32 {
    const TYPE: ParamType = ParamType::F32;
}

/// Declares a struct that shaders have too: as `Params`, its layout is compared with the shader's when the kernel is loaded; as
/// what a storage array holds, by tests/cpu/shaders.rs.
#[macro_export]
#[doc(hidden)]
macro_rules! lowbit_params {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        $vis struct $name { $($(#[$field_meta])* pub $field: $ty,)* }

        impl $crate::internals::gpu::Params for $name {
            const FIELDS: &'static [(&'static str, usize, $crate::internals::gpu::ParamType)] = &[
                $((
                    stringify!($field),
                    std::mem::offset_of!($name, $field),
                    <$ty as $crate::internals::gpu::kernel::ParamField>::TYPE,
                ),)*
            ];
        }
    };
}
pub use crate::lowbit_params as params;

/// Least bytes that must move and operations that must be done: what a time is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Bytes read and written, each input and output once.
    pub bytes: u64,
    /// Arithmetic operations (a multiply-add is two).
    pub ops: u64,
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Work>>(works: I) -> Work {
        works.fold(Work::default(), |a, b| Work { bytes: a.bytes + b.bytes, ops: a.ops + b.ops })
    }
}

/// Which arithmetic a kernel's operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// f32 multiply-adds.
    F32,
    /// f16 multiply-adds.
    F16,
    /// int8 dot products.
    I8,
    /// Cooperative matrices of f16 with f32 sums, which have no roof yet.
    Matrix,
}

/// A compiled kernel with parameters of type `P`.
#[derive(Debug)]
pub struct Kernel<P> {
    compiled: Arc<Compiled>,
    params: PhantomData<P>,
}

impl<P: Params> Kernel<P> {
    /// Assembles and checks `spec`, and begins to compile it, once for a context.
    ///
    /// # Errors
    /// [`Error::Shader`] if the text, its parameters or its workgroup do not hold on this adapter. What the driver has against it
    /// is found where it is first recorded.
    pub fn load(gpu: &Context, spec: &Spec) -> Result<Self> {
        let key = format!("{spec:?}");
        let known = lock(&gpu.kernels).get(&key).cloned();
        let compiled = match known {
            Some(compiled) => compiled,
            None => {
                // What is compiled here and now cannot be ended.
                while gpu.is_heeding() && !compiled::has_room() {
                    gpu.go_on(|| format!("before {} was compiled", spec.file))?;
                    std::thread::sleep(compiled::LOOK);
                }
                gpu.go_on(|| format!("before {} was compiled", spec.file))?;
                let compiled = Arc::new(Compiled::new(gpu, spec)?);
                lock(&gpu.kernels).insert(key, Arc::clone(&compiled));
                compiled
            }
        };
        let host: Vec<_> =
            P::FIELDS.iter().map(|&(name, offset, kind)| (name.to_owned(), offset, kind)).collect();
        if host != compiled.reflection.params {
            let problem = format!("its Params are {:?}, the host's {host:?}", compiled.reflection.params);
            return Err(Error::Shader { shader: spec.file.to_owned(), problem });
        }
        Ok(Self { compiled, params: PhantomData })
    }

    /// What its text says about itself.
    pub fn reflection(&self) -> &Reflection {
        &self.compiled.reflection
    }

    pub(super) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Binds every storage buffer by its name in the shader. The result can be dispatched any number of times.
    ///
    /// # Errors
    /// [`Error::Binding`] for a missing, extra, undersized or wrongly used buffer.
    pub fn bind(&self, gpu: &Context, buffers: &[(&str, &Buffer)], params: P, work: Work) -> Result<Bound> {
        let fault = |binding: &str, problem: String| Error::Binding {
            kernel: self.compiled.name.clone(),
            binding: binding.to_owned(),
            problem,
        };
        let bytes = bytemuck::bytes_of(&params).to_vec();
        for (i, (name, _)) in buffers.iter().enumerate() {
            if !self.compiled.reflection.bindings.iter().any(|b| b.name == *name) {
                return Err(fault(name, "the shader has no such binding".into()));
            }
            if buffers[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(fault(name, "it is given twice".into()));
            }
        }
        let rows = (self.compiled.reflection.offset("rows"))
            .map_or(1, |at| u64::from(bytemuck::pod_read_unaligned::<u32>(&bytes[at..at + 4])));
        let mut given: Vec<(&Binding, &Buffer)> = Vec::new();
        for binding in &self.compiled.reflection.bindings {
            let Some((_, buffer)) = buffers.iter().find(|(name, _)| *name == binding.name) else {
                return Err(fault(&binding.name, "no buffer was given for it".into()));
            };
            buffer.check(gpu)?;
            let shared = given.iter().find(|(other, used)| {
                std::ptr::eq(*used, *buffer)
                    && (binding.access == Access::ReadWrite || other.access == Access::ReadWrite)
            });
            if let Some((other, _)) = shared {
                return Err(fault(
                    &binding.name,
                    format!(
                        "buffer {} is bound to {} too, and one of the two writes",
                        buffer.label, other.name
                    ),
                ));
            }
            let needed = if binding.splits() {
                let row_bytes =
                    self.compiled.reflection.elements(&binding.shape[1..], &bytes) * binding.stride;
                if rows > 0 && row_bytes != buffer.row_bytes {
                    return Err(fault(
                        &binding.name,
                        format!(
                            "rows of {row_bytes} bytes are expected, buffer {} has rows of {}",
                            buffer.label, buffer.row_bytes
                        ),
                    ));
                }
                rows * row_bytes
            } else {
                if buffer.parts.len() > 1 || buffer.bytes() > gpu.adapter.max_binding_bytes {
                    return Err(fault(
                        &binding.name,
                        format!(
                            "buffer {} of {} bytes is larger than a binding of this adapter ({} bytes), and its shape does not begin with rows",
                            buffer.label,
                            buffer.bytes(),
                            gpu.adapter.max_binding_bytes
                        ),
                    ));
                }
                self.compiled.reflection.elements(&binding.shape, &bytes) * binding.stride
            };
            if buffer.bytes() < needed {
                return Err(fault(
                    &binding.name,
                    format!(
                        "[{}] takes {needed} bytes, buffer {} has {}",
                        binding.shape.join(", "),
                        buffer.label,
                        buffer.bytes()
                    ),
                ));
            }
            given.push((binding, *buffer));
        }

        let windows = self.windows(gpu, rows, &given, work);
        let given = given.into_iter().map(|(binding, buffer)| Given {
            slot: binding.slot,
            splits: binding.splits(),
            row_bytes: buffer.row_bytes,
            rows: buffer.rows,
            parts: buffer.parts.clone(),
        });
        let columns = self.compiled.reflection.columns_per_group.map_or(1, |per| {
            let columns = self.compiled.reflection.elements(&["n".to_owned()], &bytes);
            columns.div_ceil(per.into()).max(1)
        });
        let tiles = columns * u64::from(self.compiled.reflection.groups_per_tile.unwrap_or(1));
        Bound::new(gpu, Arc::clone(&self.compiled), given.collect(), bytes, (rows, tiles), windows, work)
    }

    /// Cuts `rows` so that in every split buffer a window lies within one part and within the binding limit.
    /// Long work is cut as well, so that no driver takes a dispatch for a hang.
    fn windows(
        &self,
        gpu: &Context,
        rows: u64,
        given: &[(&Binding, &Buffer)],
        work: Work,
    ) -> Vec<(u64, u64)> {
        let split: Vec<&Buffer> =
            given.iter().filter(|(b, _)| b.splits()).map(|(_, buffer)| *buffer).collect();
        let dispatches = if split.is_empty() { 1 } else { work.ops.div_ceil(MOST_OPS).max(1) };
        let patient = rows.div_ceil(dispatches).next_multiple_of(ALIGNED_ROWS);
        let mut windows = Vec::new();
        let mut first = 0;
        while first < rows {
            let mut count = (rows - first).min(patient);
            for buffer in &split {
                let left = buffer.part_at(first).map_or(count, |(_, left)| left);
                count = count.min(left).min(gpu.adapter.max_binding_bytes / buffer.row_bytes);
            }
            if first + count < rows {
                // The next window must begin at an aligned offset in every buffer; parts end at one, and hold one.
                count = count / ALIGNED_ROWS * ALIGNED_ROWS;
            }
            windows.push((first, count));
            first += count;
        }
        windows
    }
}

/// Most operations in a dispatch whose rows can be cut: 0.2 s at 1 Tflop/s, where systems give up after 2 s or more.
const MOST_OPS: u64 = 200_000_000_000;
