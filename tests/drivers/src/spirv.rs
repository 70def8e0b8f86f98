//! WGSL to SPIR-V as wgpu's Vulkan backend does it, for what a device offers.

use anyhow::{Context, Result};
use lowbit::internals::gpu::{Reflection, Spec};
use naga::back::spv::{self, Capability};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// What a device offers, as far as the translation depends on it.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    /// Vulkan 1.3 or later.
    pub version_1_3: bool,
    pub f16: bool,
    pub int64: bool,
    pub int8: bool,
    pub integer_dot: bool,
    /// Sides of square matrices of f16 with sums in f32.
    pub matrices: Vec<u32>,
    /// Accesses behind the end of a buffer are harmless, so the shader does not check them.
    pub robust: bool,
    /// The least size of a subgroup.
    pub subgroups: u32,
    pub workgroup_bytes: u32,
    pub invocations: u32,
}

impl Offers {
    /// What a shader needs and this device lacks.
    pub fn lack(&self, shader: &Reflection) -> Option<&'static str> {
        let needs = shader.needs;
        let lacks = [
            (needs.subgroups > self.subgroups, "subgroups"),
            (needs.f16 && !self.f16, "f16"),
            (needs.int64 && !self.int64, "int64"),
            (needs.matrices.is_some_and(|side| !self.f16 || !self.matrices.contains(&side)), "matrices"),
            (shader.workgroup_bytes > self.workgroup_bytes, "workgroup memory"),
            (shader.workgroup.iter().product::<u32>() > self.invocations, "invocations"),
        ];
        lacks.iter().find(|(lacks, _)| *lacks).map(|&(_, what)| what)
    }

    fn capabilities(&self) -> Vec<Capability> {
        use Capability as C;
        let mut all = vec![
            C::Shader,
            C::Matrix,
            C::GroupNonUniform,
            C::GroupNonUniformVote,
            C::GroupNonUniformArithmetic,
            C::GroupNonUniformBallot,
            C::GroupNonUniformShuffle,
            C::GroupNonUniformShuffleRelative,
            C::GroupNonUniformQuad,
        ];
        let optional: [(bool, &[Capability]); 5] = [
            (self.f16, &[C::Float16]),
            (self.int64, &[C::Int64]),
            (self.int8, &[C::Int8]),
            (!self.matrices.is_empty(), &[C::CooperativeMatrixKHR, C::VulkanMemoryModel]),
            (
                self.integer_dot,
                &[
                    C::DotProductInputAllKHR,
                    C::DotProductInput4x8BitKHR,
                    C::DotProductInput4x8BitPackedKHR,
                    C::DotProductKHR,
                ],
            ),
        ];
        all.extend(optional.iter().filter(|(offered, _)| *offered).flat_map(|(_, these)| *these));
        all
    }
}

/// A shader as a driver gets it.
#[derive(Debug)]
pub struct Binary {
    pub words: Vec<u32>,
    /// Binding numbers, and whether each is uniform.
    pub bindings: Vec<(u32, bool)>,
}

/// Translates `spec` for such a device.
pub fn translate(spec: &Spec, shader: &Reflection, offers: &Offers) -> Result<Binary> {
    let module = naga::front::wgsl::parse_str(&shader.text).context("parsing")?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module)?;
    let constants: naga::back::PipelineConstants =
        spec.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let entry = (naga::ShaderStage::Compute, shader.entry.as_str());
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, Some(entry), &constants)?;
    let buffer = if offers.robust { BoundsCheckPolicy::Unchecked } else { BoundsCheckPolicy::Restrict };
    let options = spv::Options {
        lang_version: if offers.version_1_3 { (1, 6) } else { (1, 5) },
        flags: spv::WriterFlags::empty(),
        capabilities: Some(offers.capabilities().into_iter().collect()),
        bounds_check_policies: BoundsCheckPolicies {
            index: BoundsCheckPolicy::Restrict,
            buffer,
            image_load: BoundsCheckPolicy::Unchecked,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline =
        spv::PipelineOptions { entry_point: shader.entry.clone(), shader_stage: naga::ShaderStage::Compute };
    let words = spv::write_vec(&module, &info, &options, Some(&pipeline))?;
    let bound = module.global_variables.iter().filter_map(|(_, variable)| {
        let binding = variable.binding.as_ref()?;
        Some((binding.binding, variable.space == naga::AddressSpace::Uniform))
    });
    Ok(Binary { words, bindings: bound.collect() })
}
