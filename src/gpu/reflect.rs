//! What a shader says about itself: naga parses and validates it, and this reads what the host needs.
//!
//! What a shader declares is what the host enforces:
//! - `var<uniform> params: Params`: the host's struct ([`super::params!`]) must have the same fields at the same offsets.
//! - a storage array carries its shape in a comment, `// [rows, d4]` in the names of the parameters: a buffer that
//!   is too small is refused, and one whose shape begins with `rows` may be larger than a binding: the kernel then
//!   runs once for each window, with `rows` (and `first_row`, if it is declared) set to the window's.
//! - a struct of a storage array is compared with the host's, made by [`super::params!`] too (tests/cpu/shaders.rs).
//! - `override ROWS_PER_GROUP: u32`: how many rows one workgroup covers. Without it the kernel is one workgroup.
//! - `const COLUMNS_PER_GROUP: u32`, likewise: how many of the parameter `n` it covers; then there is a workgroup for each pair of rows
//!   and columns, which it finds by `tile_of` (lib/grid). Without it, it covers all.
//! - `const GROUPS_PER_TILE: u32`: how many workgroups share that pair; `tile_of` counts them as rows of tiles that follow each other.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use naga::back::PipelineConstants;
use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::context::lock;
use super::{Context, ParamType, Spec};
use crate::{Error, Result};

/// Reflections by their specs: to parse and validate a shader takes longer than many a dispatch.
static KNOWN: LazyLock<Mutex<HashMap<String, Arc<Reflection>>>> = LazyLock::new(Mutex::default);

/// What a shader needs beyond every adapter's own: the `Needs:` lines of its header and of all that it includes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `subgroups of N or more`; N may be one of its constants.
    pub subgroups: u32,
    /// `shader_f16`
    pub f16: bool,
    /// `shader_int64`
    pub int64: bool,
    /// `cooperative matrices of NxN`, of f16 with sums in f32: the side N.
    pub matrices: Option<u32>,
}

/// How a shader uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// A storage binding of a shader.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The variable's name.
    pub name: String,
    /// How it is used.
    pub access: Access,
    pub(super) slot: u32,
    /// Bytes of one element.
    pub(super) stride: u64,
    /// Each dimension as a sum of products of parameters and numbers.
    pub(super) shape: Vec<String>,
}

impl Binding {
    pub(super) fn splits(&self) -> bool {
        self.shape.first().is_some_and(|dim| dim == "rows")
    }
}

/// Name, byte offset and type of each field of a struct.
type Fields = Vec<(String, usize, ParamType)>;

/// A struct that storage bindings hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struct {
    /// Its name in the shader.
    pub name: String,
    /// Its size in an array, in bytes.
    pub size: usize,
    /// Its fields.
    pub fields: Fields,
}

/// Everything that a shader's text says about itself.
#[derive(Clone, Debug)]
pub struct Reflection {
    /// The whole text, as the driver gets it.
    pub text: String,
    /// The entry point, named after the file.
    pub entry: String,
    /// Invocations in a workgroup.
    pub workgroup: [u32; 3],
    /// Rows that one workgroup covers, if it declares them.
    pub rows_per_group: Option<u32>,
    /// Columns (of the parameter `n`) that one workgroup covers, if it does not cover all.
    pub columns_per_group: Option<u32>,
    /// Workgroups that share these rows and columns, if it is not one.
    pub groups_per_tile: Option<u32>,
    /// The optional features it needs.
    pub needs: Needs,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Its storage bindings.
    pub bindings: Vec<Binding>,
    /// The structs that these hold.
    pub structs: Vec<Struct>,
    pub(super) params_slot: u32,
    pub(super) params: Fields,
    constants: Vec<(String, u32)>,
}

impl Reflection {
    /// Parses, validates and reads `spec`, once for a process; needs no device.
    ///
    /// # Errors
    /// [`Error::Shader`] with what does not hold.
    pub fn of(spec: &Spec) -> Result<Arc<Self>> {
        let key = format!("{spec:?}");
        if let Some(known) = lock(&KNOWN).get(&key) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Self::of_text(spec, spec.assemble()?)?);
        lock(&KNOWN).insert(key, Arc::clone(&made));
        Ok(made)
    }

    /// The same for a text assembled elsewhere.
    pub fn of_text(spec: &Spec, text: String) -> Result<Self> {
        let fault = |problem: String| Error::Shader { shader: spec.file.to_owned(), problem };
        let parsed = naga::front::wgsl::parse_str(&text).map_err(|e| fault(e.emit_to_string(&text)))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::all())
            .validate(&parsed)
            .map_err(|e| fault(e.emit_to_string(&text)))?;
        // naga passes over a value for an override that does not exist.
        let overridden = |name: &str| parsed.overrides.iter().any(|(_, o)| o.name.as_deref() == Some(name));
        if let Some((name, _)) = spec.constants().iter().find(|(name, _)| !overridden(name)) {
            return Err(fault(format!("it has no `override {name}` to set")));
        }
        let constants: PipelineConstants =
            spec.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let (module, _) = naga::back::pipeline_constants::process_overrides(&parsed, &info, None, &constants)
            .map_err(|e| fault(e.to_string()))?;

        let stem = spec.file.rsplit('/').next().unwrap_or(spec.file);
        let [entry] = module.entry_points.as_slice() else {
            return Err(fault(format!("it has {} entry points, not one", module.entry_points.len())));
        };
        if entry.name != stem {
            return Err(fault(format!("its entry point is called {}, not {stem} as its file", entry.name)));
        }
        // Constants come from the text as parsed; overrides only have values in the processed module.
        let constants: Vec<(String, u32)> = named_values(&parsed).chain(named_values(&module)).collect();
        let per_group = |wanted: &str| {
            let found = constants.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
            if found.is_none() && text.contains(wanted) {
                return Err(fault(format!("its {wanted} is declared and not used")));
            }
            Ok(found)
        };
        let (rows_per_group, columns_per_group) =
            (per_group("ROWS_PER_GROUP")?, per_group("COLUMNS_PER_GROUP")?);
        let groups_per_tile = per_group("GROUPS_PER_TILE")?;
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).map_err(|e| fault(e.to_string()))?;

        let mut reflection = Self {
            entry: entry.name.clone(),
            workgroup: entry.workgroup_size,
            rows_per_group,
            columns_per_group,
            groups_per_tile,
            needs: Needs::default(),
            workgroup_bytes: 0,
            bindings: Vec::new(),
            structs: Vec::new(),
            params_slot: 0,
            params: Vec::new(),
            constants,
            text,
        };
        reflection.needs = reflection.read_needs().map_err(&fault)?;
        for (_, variable) in module.global_variables.iter() {
            if variable.space == naga::AddressSpace::WorkGroup {
                reflection.workgroup_bytes += layouter[variable.ty].size;
            }
            let Some(place) = &variable.binding else { continue };
            let name = variable.name.clone().unwrap_or_default();
            if place.group != 0 {
                return Err(fault(format!(
                    "{name} is in group {}; every binding belongs in group 0",
                    place.group
                )));
            }
            match variable.space {
                naga::AddressSpace::Uniform => {
                    let naga::TypeInner::Struct { members, .. } = &module.types[variable.ty].inner else {
                        return Err(fault(format!("the uniform {name} is not a struct")));
                    };
                    reflection.params_slot = place.binding;
                    reflection.params = fields(&module, members).map_err(&fault)?;
                }
                naga::AddressSpace::Storage { access } => {
                    let (stride, is_array, element) = match module.types[variable.ty].inner {
                        naga::TypeInner::Array { base, stride, size: naga::ArraySize::Dynamic } => {
                            (stride, true, base)
                        }
                        _ => (layouter[variable.ty].size, false, variable.ty),
                    };
                    let element = &module.types[element];
                    if let naga::TypeInner::Struct { members, .. } = &element.inner {
                        let (name, fields) =
                            (element.name.clone().unwrap_or_default(), fields(&module, members));
                        let fields = fields.map_err(&fault)?;
                        reflection.structs.push(Struct { name, size: stride as usize, fields });
                    }
                    let shape = shape(&reflection.text, &name);
                    if is_array && shape.is_empty() {
                        return Err(fault(format!(
                            "binding {name} has no shape comment, such as // [rows, cols]"
                        )));
                    }
                    let access = if access.contains(naga::StorageAccess::STORE) {
                        Access::ReadWrite
                    } else {
                        Access::Read
                    };
                    reflection.bindings.push(Binding {
                        name,
                        access,
                        slot: place.binding,
                        stride: u64::from(stride),
                        shape,
                    });
                }
                _ => return Err(fault(format!("{name} is neither a storage buffer nor the parameters"))),
            }
        }
        if reflection.params.is_empty() {
            return Err(fault("it declares no `var<uniform> params: Params`".into()));
        }
        if reflection.columns_per_group.is_some() && reflection.offset("n").is_none() {
            return Err(fault("it declares COLUMNS_PER_GROUP and has no parameter n".into()));
        }
        // Every name in a shape must mean something, whatever the values turn out to be.
        let zeros = vec![0; reflection.params.len() * 4];
        for binding in &reflection.bindings {
            for dim in &binding.shape {
                reflection.value(dim, &zeros).map_err(|name| {
                    fault(format!("the shape of {} speaks of {name}, which is unknown", binding.name))
                })?;
            }
        }
        Ok(reflection)
    }

    /// Whether this adapter has all that the shader needs; what is missing otherwise.
    pub fn runs_on(&self, gpu: &Context) -> std::result::Result<(), String> {
        let adapter = &gpu.adapter;
        let needs = self.needs;
        let lacks =
            if !adapter.subgroup_size.map_or(needs.subgroups == 0, |(least, _)| least >= needs.subgroups) {
                Some(format!("subgroups of {} or more", needs.subgroups))
            } else if needs.f16 && !adapter.shader_f16 {
                Some("shader_f16".to_owned())
            } else if needs.int64 && !adapter.shader_int64 {
                Some("shader_int64".to_owned())
            } else {
                let lacking = needs.matrices.filter(|&side| !adapter.has_matrices(side));
                lacking.map(|side| format!("cooperative matrices of {side}x{side}"))
            };
        let invocations = self.workgroup.iter().product::<u32>();
        if let Some(lacks) = lacks {
            Err(format!("it needs {lacks}, which this adapter lacks"))
        } else if invocations > adapter.max_workgroup_invocations {
            let most = adapter.max_workgroup_invocations;
            Err(format!("a workgroup of {invocations} invocations; this adapter has at most {most}"))
        } else if self.workgroup_bytes > adapter.max_workgroup_bytes {
            let (takes, most) = (self.workgroup_bytes, adapter.max_workgroup_bytes);
            Err(format!("{takes} bytes of workgroup memory; this adapter has {most}"))
        } else {
            Ok(())
        }
    }

    /// The value of a `u32` constant or override.
    ///
    /// # Errors
    /// [`Error::Shader`] if there is none of this name.
    pub fn constant(&self, name: &str) -> Result<u32> {
        let found = self.constants.iter().find(|(constant, _)| constant == name).map(|(_, value)| *value);
        let problem = format!("it has no constant {name}");
        found.ok_or_else(|| Error::Shader { shader: self.entry.clone(), problem })
    }

    /// What all `Needs:` lines say together.
    fn read_needs(&self) -> std::result::Result<Needs, String> {
        let mut all = Needs::default();
        let mut found = false;
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("//")?.split_once("Needs: "));
        for said in lines.map(|(_, needs)| needs.trim().trim_end_matches('.')) {
            found = true;
            let unknown = || format!("its header needs \"{said}\", which is not known");
            match said {
                "no optional feature" => (),
                "shader_f16" => all.f16 = true,
                "shader_int64" => all.int64 = true,
                "cooperative matrices of 16x16" => all.matrices = Some(16),
                "cooperative matrices of 8x8" => all.matrices = Some(8),
                _ => {
                    let size =
                        said.strip_prefix("subgroups of ").and_then(|rest| rest.strip_suffix(" or more"));
                    let size =
                        size.and_then(|size| self.value(size, &[]).ok()).and_then(|n| n.try_into().ok());
                    all.subgroups = all.subgroups.max(size.ok_or_else(unknown)?);
                }
            }
        }
        if found { Ok(all) } else { Err("its header does not say `Needs:`".into()) }
    }

    /// The value of a dimension, such as `k+1`, `tiles*16` or `pairs/2` (rounded up); the unknown name otherwise.
    fn value(&self, dim: &str, params: &[u8]) -> std::result::Result<u64, String> {
        let factor = |name: &str| -> std::result::Result<u64, String> {
            if let Ok(number) = name.parse::<u64>() {
                return Ok(number);
            }
            if let Some((_, value)) = self.constants.iter().find(|(constant, _)| constant == name) {
                return Ok(u64::from(*value));
            }
            self.params
                .iter()
                .find(|(field, _, kind)| field == name && *kind == ParamType::U32)
                .and_then(|(_, offset, _)| params.get(*offset..offset + 4))
                .map(|bytes| u64::from(bytemuck::pod_read_unaligned::<u32>(bytes)))
                .ok_or_else(|| name.to_owned())
        };
        let quotient = |text: &str| match text.split_once('/') {
            Some((dividend, divisor)) => Ok(factor(dividend)?.div_ceil(factor(divisor)?.max(1))),
            None => factor(text),
        };
        dim.split('+').try_fold(0u64, |sum, term| {
            let product =
                term.split('*').try_fold(1u64, |p, f| quotient(f.trim()).map(|v| p.saturating_mul(v)))?;
            Ok(sum.saturating_add(product))
        })
    }

    pub(super) fn elements(&self, dims: &[String], params: &[u8]) -> u64 {
        // Unknown names were refused at load.
        dims.iter().fold(1, |n, dim| n * self.value(dim, params).unwrap_or(0))
    }

    pub(super) fn offset(&self, name: &str) -> Option<usize> {
        self.params.iter().find(|(field, ..)| field == name).map(|(_, offset, _)| *offset)
    }
}

/// Name, offset and type of each member; what is wrong with them otherwise.
fn fields(module: &naga::Module, members: &[naga::StructMember]) -> std::result::Result<Fields, String> {
    let field = |member: &naga::StructMember| {
        let name = member.name.clone().unwrap_or_default();
        let kind = match module.types[member.ty].inner {
            naga::TypeInner::Scalar(naga::Scalar::U32) => ParamType::U32,
            naga::TypeInner::Scalar(naga::Scalar::I32) => ParamType::I32,
            naga::TypeInner::Scalar(naga::Scalar::F32) => ParamType::F32,
            _ => return Err(format!("the field {name} is neither u32, i32 nor f32")),
        };
        Ok((name, member.offset as usize, kind))
    };
    members.iter().map(field).collect()
}

/// Every `u32` constant of `module` by its name.
fn named_values(module: &naga::Module) -> impl Iterator<Item = (String, u32)> {
    module.constants.iter().filter_map(|(_, constant)| {
        let mut value = constant.init;
        // `override A: u32 = B;` becomes a constant that stands for another one.
        while let naga::Expression::Constant(other) = module.global_expressions[value] {
            value = module.constants[other].init;
        }
        match module.global_expressions[value] {
            naga::Expression::Literal(naga::Literal::U32(value)) => Some((constant.name.clone()?, value)),
            _ => None,
        }
    })
}

/// The shape comment behind the declaration of `name`.
fn shape(text: &str, name: &str) -> Vec<String> {
    let declares = format!("> {name}:");
    let comment = text
        .lines()
        .find(|line| line.starts_with("@group") && line.contains(&declares))
        .and_then(|line| line.split_once("// ["))
        .and_then(|(_, rest)| rest.split_once(']'));
    comment.map_or(Vec::new(), |(dims, _)| dims.split(',').map(|dim| dim.replace(' ', "")).collect())
}
