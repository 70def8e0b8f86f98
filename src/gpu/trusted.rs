//! The crate's only unsafe code: three promises to wgpu.
#![allow(unsafe_code)]

/// Compiles one of the crate's own shaders without wgpu's loop counters.
///
/// wgpu adds a counter to every loop so that an endless one from a stranger cannot confuse the driver's compiler.
/// The counter keeps drivers from unrolling register tiles: 7 times slower on lavapipe (benches/NOTES.md).
/// Bounds checks stay on.
pub(super) fn shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    let checks =
        wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: the text is the crate's own, embedded at build time, and a loop in it must end: each counts up to a
    // bound that it does not change (a rule of ARCHITECTURE.md).
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

/// A cache of pipelines, with the `data` of an earlier one.
pub(super) fn pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("lowbit"), data, fallback: true };
    // SAFETY: the data is what `PipelineCache::get_data` gave to an earlier process: it lies in the user's own cache folder, and
    // its hash is checked. That it fits the adapter and the driver is checked by wgpu.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

/// The consent that wgpu asks for before it offers cooperative matrices.
pub(super) fn experimental_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: the token acknowledges that experimental features may have bugs; they are only enabled where the
    // adapter reports them, and every kernel that uses one is verified against its oracle.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
