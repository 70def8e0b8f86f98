//! Kernels while and after they are compiled: each on a thread of its own as long as the processor has one to spare, so that what
//! is loaded together is compiled together. Whoever needs the pipeline first waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use super::context::{lock, scoped};
use super::pieces::Pace;
use super::reflect::{Access, Reflection};
use super::{Context, Spec, trusted};
use crate::{Error, Result};

/// What does not depend on the host's type of the parameters.
#[derive(Debug)]
pub(super) struct Compiled {
    pub name: String,
    pub reflection: Arc<Reflection>,
    pub layout: wgpu::BindGroupLayout,
    pub pace: Pace,
    pipeline: Pending<wgpu::ComputePipeline>,
}

/// How often it is looked whether a kernel is compiled, by those who may be asked for an end.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// Compilers at work in this process.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// One of them, until it is dropped.
struct AtWork;

impl AtWork {
    /// With how many there are now.
    fn begin() -> (Self, usize) {
        (Self, AT_WORK.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::Release);
    }
}

/// Waits until no kernel is compiled any more.
pub(super) fn wait_for_all() {
    while AT_WORK.load(Ordering::Acquire) > 0 {
        std::thread::sleep(LOOK);
    }
}

/// Whether one more can be begun on a thread of its own.
pub(super) fn has_room() -> bool {
    AT_WORK.load(Ordering::Relaxed) + 1 < most_at_work()
}

fn most_at_work() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).max(2)
}

impl Compiled {
    /// Checks `spec` and begins to compile it.
    pub fn new(gpu: &Context, spec: &Spec) -> Result<Self> {
        let reflection = Reflection::of(spec)?;
        let shader = spec.file;
        reflection.runs_on(gpu).map_err(|problem| Error::Shader { shader: shader.to_owned(), problem })?;
        let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let entries: Vec<_> = reflection
            .bindings
            .iter()
            .map(|b| {
                let read_only = b.access == Access::Read;
                entry(b.slot, wgpu::BufferBindingType::Storage { read_only })
            })
            .chain([entry(reflection.params_slot, wgpu::BufferBindingType::Uniform)])
            .collect();
        let layout = gpu
            .scoped(shader, 0, || {
                let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(shader), entries: &entries };
                gpu.device.create_bind_group_layout(&descriptor)
            })
            .map_err(|error| of_shader(shader, error))?;
        let work = {
            let (device, lost, cache) = (gpu.device.clone(), Arc::clone(&gpu.lost), gpu.pipelines.next());
            let (reflection, layout, constants) = (Arc::clone(&reflection), layout.clone(), spec.constants());
            move || {
                let compile = || pipeline(&device, shader, &reflection, &layout, &constants, cache.as_ref());
                scoped(&device, &lost, shader, 0, compile).map_err(|error| of_shader(shader, error))
            }
        };
        let (name, pace) = (shader.to_owned(), Pace::default());
        Ok(Self { name, reflection, layout, pace, pipeline: Pending::begin(work) })
    }

    /// What a pass runs, once it is compiled.
    ///
    /// # Errors
    /// [`Error::Interrupted`], while it is compiled; [`Error::Shader`] if the driver refuses it; [`Error::Fault`] if its compiler panicked; the device's.
    pub fn pipeline(&self, gpu: &Context) -> Result<&wgpu::ComputePipeline> {
        while gpu.is_heeding() && self.pipeline.is_at_work() {
            gpu.go_on(|| format!("while {} was compiled", self.name))?;
            std::thread::sleep(LOOK);
        }
        self.pipeline.get().map_err(|error| match error {
            Error::Shader { shader, problem } => {
                Error::Shader { shader: shader.clone(), problem: problem.clone() }
            }
            Error::OutOfMemory { what, bytes } => Error::OutOfMemory { what: what.clone(), bytes: *bytes },
            Error::DeviceLost(reason) => Error::DeviceLost(reason.clone()),
            other => Error::Fault(format!("{}: {other}", self.name)),
        })
    }
}

fn of_shader(shader: &str, error: Error) -> Error {
    match error {
        Error::Validation(problem) => Error::Shader { shader: shader.to_owned(), problem },
        other => other,
    }
}

fn pipeline(
    device: &wgpu::Device,
    shader: &str,
    reflection: &Reflection,
    layout: &wgpu::BindGroupLayout,
    constants: &[(&str, f64)],
    cache: Option<&wgpu::PipelineCache>,
) -> wgpu::ComputePipeline {
    let source = wgpu::ShaderSource::Wgsl(reflection.text.as_str().into());
    let module = trusted::shader_module(device, wgpu::ShaderModuleDescriptor { label: Some(shader), source });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(shader),
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(shader),
        layout: Some(&layout),
        module: &module,
        entry_point: Some(&reflection.entry),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            // Every kernel writes its workgroup memory before it reads it (a rule of ARCHITECTURE.md).
            zero_initialize_workgroup_memory: false,
        },
        cache,
    })
}

/// A value that a thread is making.
#[derive(Debug)]
struct Pending<T> {
    thread: Mutex<Option<JoinHandle<Result<T>>>>,
    made: OnceLock<Result<T>>,
}

impl<T: Send + 'static> Pending<T> {
    /// Begins `work` on a thread of its own, or does it here where all processors are at work or there is no thread to be had.
    fn begin(work: impl FnOnce() -> Result<T> + Send + 'static) -> Self {
        let (at_work, working) = AtWork::begin();
        if working >= most_at_work() {
            return Self { thread: Mutex::default(), made: OnceLock::from(work()) };
        }
        // A thread that cannot be had drops what it was given.
        let work = Arc::new(Mutex::new(Some(work)));
        let begun = {
            let work = Arc::clone(&work);
            std::thread::Builder::new().spawn(move || {
                let _at_work = at_work;
                let work = lock(&work).take();
                work.map_or_else(|| Err(Error::Fault("there was nothing to compile".into())), |work| work())
            })
        };
        match begun {
            Ok(thread) => Self { thread: Mutex::new(Some(thread)), made: OnceLock::new() },
            Err(error) => {
                let work = lock(&work).take();
                let made = work.map_or_else(|| Err(Error::Fault(error.to_string())), |work| work());
                Self { thread: Mutex::default(), made: OnceLock::from(made) }
            }
        }
    }

    /// Whether there is nothing yet, and a thread that makes it.
    fn is_at_work(&self) -> bool {
        lock(&self.thread).as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// The value; waits for it.
    fn get(&self) -> std::result::Result<&T, &Error> {
        let made = self.made.get_or_init(|| {
            // Whoever comes here first finds the thread; the others wait for the value.
            let thread = lock(&self.thread).take();
            let panicked = || Err(Error::Fault("the compiler's thread panicked".into()));
            thread.and_then(|thread| thread.join().ok()).unwrap_or_else(panicked)
        });
        made.as_ref()
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        // Nothing may be at work on a device that is about to go.
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_is_begun_is_made_once_and_is_everyones() {
        let pending = Pending::begin(|| Ok(7));
        let values = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| *pending.get().unwrap())).collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(values, [7; 4]);
        let failed = Pending::<u32>::begin(|| Err(Error::Input("no".into())));
        for _ in 0..2 {
            assert!(matches!(failed.get(), Err(Error::Input(text)) if text == "no"));
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        let pending = Pending::<u32> {
            thread: Mutex::new(Some(std::thread::spawn(|| panic!("no")))),
            made: OnceLock::new(),
        };
        assert!(matches!(pending.get(), Err(Error::Fault(text)) if text.contains("panicked")));
    }

    #[test]
    fn a_drop_waits_for_the_thread() {
        let (done, ends) = channel();
        drop(Pending::begin(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let _ = done.send(());
            Ok(())
        }));
        assert!(ends.try_recv().is_ok());
    }
}
