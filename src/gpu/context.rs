//! An adapter, opened: its device and queue, what it can do, and its errors as values.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::bound::MOST_GROUPS;
use super::compiled::{self, Compiled};
use super::dispatch::Row;
use super::pipelines::Pipelines;
use super::record::PassRecord;
use super::stop::Stop;
use super::tune::Choice;
use super::{self_test, table, trusted};
use crate::random::Random;
use crate::{Error, Result};

/// Where news of the device goes while it is at work.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(&str) + Send + Sync>);

impl Listener {
    /// Calls `hear` with each piece of news, a sentence without its full stop.
    pub fn new(hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Part of the adapter's name, in any case; otherwise `WGPU_ADAPTER_NAME`, otherwise the best there is.
    pub adapter: Option<String>,
    /// Surround every buffer with guard words and fill it with a poison pattern: for verification. No table of the user's counts.
    #[doc(hidden)]
    pub guarded: bool,
    /// Most workgroups side by side in a grid, where they are to be fewer than the backends allow (65,535): so that small cases
    /// fold as large ones do. For verification.
    #[doc(hidden)]
    pub fold: Option<u32>,
    /// Cut each window of work into so many pieces, where somebody may ask for an end and its rows can be cut. For verification.
    #[doc(hidden)]
    pub cut: Option<u64>,
    /// Leave out subgroups, as if the adapter had none. For verification.
    #[doc(hidden)]
    pub no_subgroups: bool,
    /// Time every variant that runs wherever one is chosen, and take the fastest: see [`Context::take_choices`].
    #[doc(hidden)]
    pub measure: bool,
    /// Take any variant that runs wherever one is chosen, by chance from this seed on. For verification.
    #[doc(hidden)]
    pub vary: Option<u64>,
    /// Time every pass and keep its record for a trace.
    #[doc(hidden)]
    pub profile: bool,
    /// Hears the notices as they come, and what takes long.
    pub listener: Option<Listener>,
}

/// How often it is looked whether an end was asked for, while a device computes.
const LOOK: Duration = Duration::from_millis(20);

/// Contexts that were ever made.
static CONTEXTS: AtomicU64 = AtomicU64::new(0);

/// The most storage buffers that a kernel binds, but for some that take cooperative matrices; every device has as many unless it
/// was requested with fewer.
pub const MOST_BUFFERS: u32 = 8;

/// What an adapter says of itself.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AdapterReport {
    /// Name, such as `NVIDIA H200`.
    pub name: String,
    /// Graphics interface: vulkan, metal or dx12.
    pub backend: String,
    /// discrete, integrated, virtual, software or other.
    pub kind: &'static str,
    /// Driver name and version.
    pub driver: String,
    /// Largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Largest part of a buffer that a shader can see at once, in bytes.
    pub max_binding_bytes: u64,
    /// Most invocations in a workgroup.
    pub max_workgroup_invocations: u32,
    /// Workgroup memory, in bytes.
    pub max_workgroup_bytes: u32,
    /// Smallest and largest subgroup, in invocations; null without subgroups, and where their lanes are out of order.
    pub subgroup_size: Option<(u32, u32)>,
    /// 16-bit floats in shaders.
    pub shader_f16: bool,
    /// 64-bit integers in shaders.
    pub shader_int64: bool,
    /// GPU timestamps; without them passes are timed by the wall clock.
    pub timestamps: bool,
    /// Cooperative-matrix shapes, such as `16x16x16 f16 -> f32`.
    pub cooperative_matrix: Vec<String>,
}

impl AdapterReport {
    fn new(adapter: &wgpu::Adapter) -> Self {
        Self::of(adapter, &adapter.limits(), adapter.features())
    }

    /// Of an adapter, as far as these limits and features go.
    fn of(adapter: &wgpu::Adapter, limits: &wgpu::Limits, features: wgpu::Features) -> Self {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        };
        let driver = if info.driver_info.is_empty() {
            info.driver.clone()
        } else {
            format!("{} {}", info.driver, info.driver_info)
        };
        let matrices = adapter.cooperative_matrix_properties();
        Self {
            name: info.name.clone(),
            backend: info.backend.to_str().to_owned(),
            kind,
            driver,
            max_buffer_bytes: limits.max_buffer_size,
            // Shaders count in u32, and some drivers report what they cannot check the bounds of.
            max_binding_bytes: limits.max_storage_buffer_binding_size.min(MOST_BINDING_BYTES),
            max_workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            subgroup_size: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some((info.subgroup_min_size, info.subgroup_max_size)),
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            shader_int64: features.contains(wgpu::Features::SHADER_INT64),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            // A driver can list shapes and lack the memory model that wgpu asks for with them.
            cooperative_matrix: matrices
                .iter()
                .filter(|_| features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX))
                .map(|m| {
                    let (ab, cr) = (format!("{:?}", m.ab_type), format!("{:?}", m.cr_type));
                    format!("{}x{}x{} {ab} -> {cr}", m.m_size, m.n_size, m.k_size).to_lowercase()
                })
                .collect(),
        }
    }

    /// One for tests.
    #[cfg(test)]
    pub(crate) fn sample(kind: &'static str) -> Self {
        Self {
            name: "Card".into(),
            backend: "vulkan".into(),
            kind,
            driver: "driver 1".into(),
            max_buffer_bytes: 1 << 30,
            max_binding_bytes: 1 << 30,
            max_workgroup_invocations: 256,
            max_workgroup_bytes: 1 << 15,
            subgroup_size: None,
            shader_f16: false,
            shader_int64: false,
            timestamps: false,
            cooperative_matrix: Vec::new(),
        }
    }

    /// Whether it has cooperative matrices of f16, `side` by `side`, with sums in f32.
    pub fn has_matrices(&self, side: u32) -> bool {
        let wanted = format!("{side}x{side}x{side} f16 -> f32");
        self.shader_f16 && self.cooperative_matrix.contains(&wanted)
    }

    /// Whether the adapter is a processor that plays a GPU.
    pub fn is_software(&self) -> bool {
        self.kind == "software"
    }
}

/// Vulkan's own limit, taken everywhere: Metal reports tens of gigabytes, and passes sizes to shaders as u32.
const MOST_BINDING_BYTES: u64 = (1 << 31) - 1;

/// Features that are used where the adapter has them; none is required.
const OPTIONAL: wgpu::Features = wgpu::Features::SUBGROUP
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SHADER_INT64)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

async fn enumerate() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY);
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = backends;
    wgpu::Instance::new(descriptor).enumerate_adapters(backends).await
}

/// Every adapter of this machine, in the order in which they would be chosen.
pub fn adapters() -> Vec<AdapterReport> {
    let mut found = pollster::block_on(enumerate());
    found.sort_by_key(rank);
    found.iter().map(AdapterReport::new).collect()
}

fn rank(adapter: &wgpu::Adapter) -> u8 {
    preference(adapter.get_info().device_type)
}

/// The lower, the sooner it is chosen.
fn preference(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

/// An open device. Everything on the GPU starts here.
///
/// Own it in `main` or in a test: some drivers crash when a device outlives `main`.
#[derive(Debug)]
pub struct Context {
    /// Its buffers have it too.
    pub(super) id: u64,
    /// Kernels by the names of their variants: a driver takes up to a second to compile one. Dropped before the pipelines' cache,
    /// which is kept then.
    pub(super) kernels: Mutex<HashMap<String, Arc<Compiled>>>,
    /// Dropped before the device.
    pub(super) pipelines: Pipelines,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// What the adapter can do.
    pub adapter: AdapterReport,
    /// Whether `dot4I8Packed` gave right answers on this adapter.
    pub integer_dot: bool,
    pub(super) guarded: bool,
    /// Most workgroups in the first dimension of a grid.
    pub(super) fold: u64,
    /// Pieces of a window, where they are to be that many.
    pub(super) cut: Option<u64>,
    pub(super) measure: bool,
    /// What variants are drawn by, where they are.
    pub(super) vary: Mutex<Option<Random>>,
    /// The user's own table of variants.
    pub(super) table: Vec<Row>,
    /// What was measured.
    pub(super) choices: Mutex<Vec<Choice>>,
    pub(super) profile: bool,
    pub(super) passes: Mutex<Vec<PassRecord>>,
    notices: Mutex<Vec<String>>,
    listener: Option<Listener>,
    pub(super) stop: Stop,
    /// The last upload that was submitted.
    upload: Mutex<Option<wgpu::SubmissionIndex>>,
    pub(super) opened: Instant,
    pub(super) lost: Lost,
}

/// Why a device is lost, once it is.
pub(super) type Lost = Arc<Mutex<Option<String>>>;

impl Context {
    /// Opens the adapter that `options` names, with all its limits and those optional features that it has.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] with the names there are; [`Error::NoDevice`] with the driver's reason.
    pub fn open(options: &Options) -> Result<Self> {
        pollster::block_on(Self::open_async(options))
    }

    /// Opens every adapter of this machine that computes by itself, or the software devices if there are only those. Of
    /// one that several backends list, the first counts; [`Options::adapter`] does not.
    ///
    /// # Errors
    /// Those of [`Context::open`].
    pub fn open_all(options: &Options) -> Result<Vec<Self>> {
        let mut found = pollster::block_on(enumerate());
        found.sort_by_key(rank);
        let infos: Vec<_> = found.iter().map(wgpu::Adapter::get_info).collect();
        let software = |at: usize| infos[at].device_type == wgpu::DeviceType::Cpu;
        let all_software = (0..infos.len()).all(software);
        // One backend lists an adapter once, and equal ones each.
        let twice = |at: usize| {
            let same = |a: &wgpu::AdapterInfo, b: &wgpu::AdapterInfo| {
                a.backend != b.backend && (a.vendor, a.device) == (b.vendor, b.device)
            };
            infos[..at].iter().any(|before| same(before, &infos[at]))
        };
        let chosen = (0..infos.len()).filter(|&at| (all_software || !software(at)) && !twice(at));
        let opened: Vec<Self> = chosen
            .map(|at| pollster::block_on(Self::open_adapter(options, &found[at])))
            .collect::<Result<_>>()?;
        if opened.is_empty() {
            return Err(Error::NoAdapter { wanted: None, found: Vec::new() });
        }
        Ok(opened)
    }

    async fn open_async(options: &Options) -> Result<Self> {
        let mut found = enumerate().await;
        found.sort_by_key(rank);
        let names = || found.iter().map(|a| a.get_info().name).collect::<Vec<_>>();
        let wanted = options.adapter.clone().or_else(|| std::env::var("WGPU_ADAPTER_NAME").ok());
        let chosen = match &wanted {
            // One adapter's name can be a part of another's.
            Some(name) => found.iter().find(|a| a.get_info().name == *name).or_else(|| {
                found.iter().find(|a| a.get_info().name.to_lowercase().contains(&name.to_lowercase()))
            }),
            None => found.first(),
        };
        let Some(adapter) = chosen else {
            return Err(Error::NoAdapter { wanted, found: names() });
        };
        Self::open_adapter(options, adapter).await
    }

    async fn open_adapter(options: &Options, adapter: &wgpu::Adapter) -> Result<Self> {
        let mut asked = Self::descriptor(adapter);
        if options.no_subgroups {
            asked.required_features.remove(wgpu::Features::SUBGROUP);
        }
        let report = AdapterReport::of(adapter, &asked.required_limits, asked.required_features);
        let (device, queue) = adapter
            .request_device(&asked)
            .await
            .map_err(|e| Error::NoDevice { adapter: report.name.clone(), reason: e.to_string() })?;
        let lost = Arc::new(Mutex::new(None));
        device.set_device_lost_callback({
            let lost = Arc::clone(&lost);
            move |reason, message| {
                // Dropping the device reports a loss too; nobody reads it then.
                *lock(&lost) = Some(format!("{reason:?}: {message}"));
            }
        });
        // An error outside every scope must not end the process, which is what wgpu does by default.
        device.on_uncaptured_error(Arc::new({
            let lost = Arc::clone(&lost);
            move |error: wgpu::Error| {
                lock(&lost).get_or_insert_with(|| format!("given up after {error}"));
            }
        }));
        Self::on(options, report, &adapter.get_info(), device, queue, lost)
    }

    /// What to request a device with, so that everything runs on it that can run on this adapter: all its limits, and those
    /// optional features that it has.
    pub fn descriptor(adapter: &wgpu::Adapter) -> wgpu::DeviceDescriptor<'static> {
        let features = adapter.features() & OPTIONAL;
        let experimental = if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            trusted::experimental_features()
        } else {
            wgpu::ExperimentalFeatures::disabled()
        };
        wgpu::DeviceDescriptor {
            label: Some("lowbit"),
            required_features: features,
            required_limits: adapter.limits(),
            experimental_features: experimental,
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        }
    }

    /// A context on a device that a program has already, and goes on to use: work is submitted to the same queue. Features and
    /// limits that the device was not requested with are not used ([`Context::descriptor`] has them all). The program's own
    /// handlers of errors and of a lost device stay.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a device with too few storage buffers in a shader; the device's.
    pub fn from_device(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let limits = device.limits();
        let given = limits.max_storage_buffers_per_shader_stage;
        if given < MOST_BUFFERS {
            return Err(Error::Unsupported(format!(
                "this device was requested with {given} storage buffers in a shader; {MOST_BUFFERS} are needed"
            )));
        }
        let report = AdapterReport::of(adapter, &limits, device.features());
        let (options, lost) = (Options::default(), Arc::default());
        Self::on(&options, report, &adapter.get_info(), device, queue, lost)
    }

    fn on(
        options: &Options,
        report: AdapterReport,
        info: &wgpu::AdapterInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
        lost: Lost,
    ) -> Result<Self> {
        let (table, news) = if options.guarded { Default::default() } else { table::load()? };
        let mut context = Self {
            id: CONTEXTS.fetch_add(1, Ordering::Relaxed),
            pipelines: Pipelines::of(&device, info),
            device,
            queue,
            adapter: report,
            integer_dot: false,
            guarded: options.guarded,
            fold: options.fold.map_or(MOST_GROUPS, u64::from).clamp(1, MOST_GROUPS),
            cut: options.cut,
            measure: options.measure,
            vary: Mutex::new(options.vary.map(Random::new)),
            table,
            choices: Mutex::default(),
            profile: options.profile,
            passes: Mutex::new(Vec::new()),
            kernels: Mutex::default(),
            notices: Mutex::new(Vec::new()),
            listener: options.listener.clone(),
            stop: Stop::default(),
            upload: Mutex::default(),
            opened: Instant::now(),
            lost,
        };
        if let Some(news) = news {
            context.notice(news);
        }
        if context.adapter.is_software() {
            context.notice(format!(
                "{} is a software device (it runs on the processor): right answers, not GPU speed",
                context.adapter.name
            ));
        }
        context.integer_dot = self_test::integer_dot(&context)?;
        if !context.integer_dot {
            context.notice(format!(
                "the integer dot product of this driver ({}) gives wrong answers: it is not used",
                context.adapter.driver
            ));
        }
        if context.adapter.subgroup_size.is_some() && !self_test::linear_subgroups(&context)? {
            context.adapter.subgroup_size = None;
            context.notice(format!(
                "this driver ({}) does not deal the lanes of subgroups out in order: they are not used",
                context.adapter.driver
            ));
        }
        Ok(context)
    }

    /// Runs `work`, and turns what wgpu reports of it into an error.
    pub(super) fn scoped<T>(&self, what: &str, bytes: u64, work: impl FnOnce() -> T) -> Result<T> {
        scoped(&self.device, &self.lost, what, bytes, work)
    }

    /// The device that everything is on.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The queue that everything is submitted to.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Waits until everything submitted has run.
    pub fn wait(&self) -> Result<()> {
        self.wait_for(None)
    }

    /// Waits until nothing is at work on the device any more: neither what was submitted, nor a kernel that is compiled and that
    /// nobody waited for. A program that ends while it keeps a device in a `static` asks for it before it ends: drivers compile and
    /// compute on threads of their own, which crash while the libraries they use are taken down. A device that is dropped waits
    /// by itself.
    pub fn settle(&self) {
        compiled::wait_for_all();
        // Of a device that is lost nothing is at work.
        let _ = self.device.poll(wgpu::PollType::wait_indefinitely());
    }

    /// Whether the device has stopped working: nothing runs on it any more, and what lay on it is gone.
    pub fn is_lost(&self) -> bool {
        // The news arrives with a poll.
        let polled = self.device.poll(wgpu::PollType::Poll);
        polled.is_err() || self.lost_error().is_some()
    }

    /// Waits for this submission, or for all. Who asks for an end meanwhile does not wait for it: what it works on lives as long as
    /// it does, and what is submitted later runs behind it.
    pub(super) fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let timeout = self.is_heeding().then_some(LOOK);
        let polled = loop {
            let submission_index = submission_index.clone();
            match self.device.poll(wgpu::PollType::Wait { submission_index, timeout }) {
                Err(wgpu::PollError::Timeout) => self.go_on(|| "while the device computed".into())?,
                polled => break polled,
            }
        };
        match (self.lost_error(), polled) {
            (Some(lost), _) => Err(lost),
            (None, Err(error)) => Err(Error::DeviceLost(error.to_string())),
            (None, Ok(_)) => Ok(()),
        }
    }

    /// An upload was submitted: waits for the one before it. A device that is lost says so at its next use.
    pub(super) fn uploaded(&self, submission: wgpu::SubmissionIndex) {
        let before = lock(&self.upload).replace(submission);
        if before.is_some() {
            let _ = self.wait_for(before);
        }
    }

    pub(super) fn lost_error(&self) -> Option<Error> {
        lost_error(&self.lost)
    }

    /// What the user should know before trusting a number: a software device, a broken integer dot product, a table of
    /// variants that could not be used. Oldest first.
    pub fn notices(&self) -> Vec<String> {
        lock(&self.notices).clone()
    }

    /// Adds to [`Context::notices`], once.
    pub(super) fn notice(&self, text: String) {
        let mut notices = lock(&self.notices);
        if !notices.contains(&text) {
            self.tell(&text);
            notices.push(text);
        }
    }

    /// Says something that is of no more interest once it has passed.
    pub(super) fn tell(&self, text: &str) {
        if let Some(Listener(hear)) = &self.listener {
            hear(text);
        }
    }

    /// The passes recorded so far under [`Options::profile`], oldest first; the list starts anew.
    #[doc(hidden)]
    pub fn take_passes(&self) -> Vec<PassRecord> {
        std::mem::take(&mut *lock(&self.passes))
    }

    /// What was measured so far under [`Options::measure`], oldest first; the list starts anew.
    #[doc(hidden)]
    pub fn take_choices(&self) -> Vec<Choice> {
        std::mem::take(&mut *lock(&self.choices))
    }

    /// Drops the device's hold on the GPU, as a crash of the driver would: for tests of what follows.
    #[doc(hidden)]
    pub fn destroy_device(&self) {
        self.device.destroy();
    }
}

/// [`Context::scoped`], of a device alone: for threads that compile.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    lost: &Lost,
    what: &str,
    bytes: u64,
    work: impl FnOnce() -> T,
) -> Result<T> {
    let filters =
        [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal];
    let mut scopes = filters.map(|filter| Some(device.push_error_scope(filter)));
    let done = work();
    let mut first = None;
    for scope in scopes.iter_mut().rev().filter_map(Option::take) {
        first = pollster::block_on(scope.pop()).or(first);
    }
    if first.is_some() {
        // The news of a loss arrives with a poll; until then its consequences look like refused calls.
        let _ = device.poll(wgpu::PollType::Poll);
    }
    match first {
        None => lost_error(lost).map_or(Ok(done), Err),
        Some(error) => Err(lost_error(lost).unwrap_or_else(|| typed(&error, what, bytes))),
    }
}

fn lost_error(lost: &Lost) -> Option<Error> {
    lock(lost).clone().map(Error::DeviceLost)
}

/// The value behind a mutex, also after a panic elsewhere: every value kept here is whole at all times.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// wgpu's error of doing `what` with `bytes` bytes, as the crate's own.
fn typed(error: &wgpu::Error, what: &str, bytes: u64) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { what: what.to_owned(), bytes },
        // Nobody else says so where the handler of a lost device is the program's own.
        other if other.to_string().contains("device is lost") => {
            Error::DeviceLost(format!("{what}: {other}"))
        }
        other => Error::Validation(format!("{what}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_its_own_comes_first_and_software_last() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        let mut kinds = [Cpu, Other, IntegratedGpu, VirtualGpu, DiscreteGpu];
        kinds.sort_by_key(|&kind| preference(kind));
        assert_eq!(kinds, [DiscreteGpu, IntegratedGpu, VirtualGpu, Other, Cpu]);
    }

    #[test]
    fn out_of_memory_is_told_from_a_refused_call() {
        let source = || Box::new(std::fmt::Error);
        let error = typed(&wgpu::Error::OutOfMemory { source: source() }, "points", 7);
        assert!(matches!(&error, Error::OutOfMemory { what, bytes: 7 } if what == "points"));
        assert_eq!(error.exit_code(), 3);
        let refused = wgpu::Error::Validation { source: source(), description: "too long".into() };
        assert!(
            matches!(typed(&refused, "points", 7), Error::Validation(text) if text == "points: too long")
        );
    }
}
