//! A Vulkan device that compiles, and says what its compiler made. The one place with unsafe code: calls into a driver.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use ash::vk;

use crate::spirv::{Binary, Offers};

/// A device of the driver that the environment names.
pub struct Device {
    /// What it calls itself.
    pub name: String,
    /// The driver, with its version.
    pub driver: String,
    pub offers: Offers,
    device: ash::Device,
    statistics: Option<ash::khr::pipeline_executable_properties::Device>,
    _instance: ash::Instance,
    _entry: ash::Entry,
}

/// What a compiler says of a shader.
#[derive(Debug, Default)]
pub struct Compiled {
    pub time: Duration,
    /// By the driver's own names; of several programs, the larger counts.
    pub statistics: BTreeMap<String, f64>,
    /// Assembly, if it was asked for and the driver gives it.
    pub assembly: Option<String>,
}

fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

const STATISTICS: &CStr = ash::khr::pipeline_executable_properties::NAME;
const ROBUSTNESS: &CStr = ash::ext::robustness2::NAME;
const MATRICES: &CStr = ash::khr::cooperative_matrix::NAME;

impl Device {
    /// Opens the first device of the driver.
    pub fn open() -> Result<Self> {
        // SAFETY: every structure that is passed outlives the call that it is passed to; handles are used on the device that they
        // are of, and the instance and the loader are kept as long as the device.
        unsafe {
            let entry = ash::Entry::load()?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance = entry
                .create_instance(&vk::InstanceCreateInfo::default().application_info(&application), None)?;
            let physical =
                *instance.enumerate_physical_devices()?.first().context("the driver has no device")?;

            let (mut of_11, mut of_12, mut of_13) = (
                vk::PhysicalDeviceVulkan11Properties::default(),
                vk::PhysicalDeviceVulkan12Properties::default(),
                vk::PhysicalDeviceVulkan13Properties::default(),
            );
            let mut asked = vk::PhysicalDeviceProperties2::default()
                .push_next(&mut of_11)
                .push_next(&mut of_12)
                .push_next(&mut of_13);
            instance.get_physical_device_properties2(physical, &mut asked);
            let properties = asked.properties;

            let offered = instance.enumerate_device_extension_properties(physical)?;
            let has =
                |name: &CStr| offered.iter().any(|extension| extension.extension_name_as_c_str() == Ok(name));
            let mut has_12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut has_13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut has_robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
            let mut has_matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
            let mut has_11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut asked = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut has_11)
                .push_next(&mut has_12)
                .push_next(&mut has_13);
            if has(ROBUSTNESS) {
                asked = asked.push_next(&mut has_robustness);
            }
            if has(MATRICES) {
                asked = asked.push_next(&mut has_matrices);
            }
            instance.get_physical_device_features2(physical, &mut asked);
            let base = asked.features;
            let wanted =
                has_matrices.cooperative_matrix == vk::TRUE && has_12.vulkan_memory_model == vk::TRUE;
            let sides = if wanted {
                let of = ash::khr::cooperative_matrix::Instance::new(&entry, &instance);
                let (f16, f32) = (vk::ComponentTypeKHR::FLOAT16, vk::ComponentTypeKHR::FLOAT32);
                let all = of.get_physical_device_cooperative_matrix_properties(physical)?;
                let fits = |m: &&vk::CooperativeMatrixPropertiesKHR<'_>| {
                    (m.a_type, m.b_type, m.c_type, m.result_type) == (f16, f16, f32, f32)
                        && (m.m_size, m.n_size) == (m.k_size, m.k_size)
                        && m.scope == vk::ScopeKHR::SUBGROUP
                };
                all.iter().filter(fits).map(|m| m.k_size).collect()
            } else {
                Vec::new()
            };
            let offers = Offers {
                version_1_3: properties.api_version >= vk::API_VERSION_1_3,
                f16: has_12.shader_float16 == vk::TRUE,
                int64: base.shader_int64 == vk::TRUE,
                int8: has_12.shader_int8 == vk::TRUE,
                integer_dot: has_13.shader_integer_dot_product == vk::TRUE,
                matrices: sides,
                robust: has_robustness.robust_buffer_access2 == vk::TRUE,
                subgroups: if of_13.min_subgroup_size > 0 {
                    of_13.min_subgroup_size
                } else {
                    of_11.subgroup_size
                },
                workgroup_bytes: properties.limits.max_compute_shared_memory_size,
                invocations: properties.limits.max_compute_work_group_invocations,
            };

            let names: Vec<*const c_char> = [STATISTICS, ROBUSTNESS, MATRICES]
                .into_iter()
                .filter(|name| has(name))
                .map(CStr::as_ptr)
                .collect();
            let priorities = [1.0];
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&priorities)];
            let mut statistics = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
                .pipeline_executable_info(true);
            let mut use_11 = vk::PhysicalDeviceVulkan11Features::default()
                .storage_buffer16_bit_access(has_11.storage_buffer16_bit_access == vk::TRUE);
            let mut use_12 = vk::PhysicalDeviceVulkan12Features::default()
                .shader_float16(offers.f16)
                .shader_int8(offers.int8)
                .vulkan_memory_model(has_12.vulkan_memory_model == vk::TRUE)
                .vulkan_memory_model_device_scope(has_12.vulkan_memory_model_device_scope == vk::TRUE);
            let mut use_13 = vk::PhysicalDeviceVulkan13Features::default()
                .shader_integer_dot_product(offers.integer_dot)
                .subgroup_size_control(has_13.subgroup_size_control == vk::TRUE)
                .compute_full_subgroups(has_13.compute_full_subgroups == vk::TRUE)
                .maintenance4(has_13.maintenance4 == vk::TRUE);
            let mut use_robustness =
                vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(offers.robust);
            let matrices = !offers.matrices.is_empty();
            let mut use_matrices =
                vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(matrices);
            let features = vk::PhysicalDeviceFeatures {
                robust_buffer_access: vk::TRUE,
                shader_int64: base.shader_int64,
                shader_int16: base.shader_int16,
                ..Default::default()
            };
            let mut wanted = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&names)
                .enabled_features(&features)
                .push_next(&mut use_11)
                .push_next(&mut use_12)
                .push_next(&mut use_13);
            if has(STATISTICS) {
                wanted = wanted.push_next(&mut statistics);
            }
            if offers.robust {
                wanted = wanted.push_next(&mut use_robustness);
            }
            if matrices {
                wanted = wanted.push_next(&mut use_matrices);
            }
            let device = instance.create_device(physical, &wanted, None)?;
            let statistics = has(STATISTICS)
                .then(|| ash::khr::pipeline_executable_properties::Device::new(&instance, &device));
            Ok(Self {
                name: text(&properties.device_name),
                driver: format!("{} {}", text(&of_12.driver_name), text(&of_12.driver_info)),
                offers,
                device,
                statistics,
                _instance: instance,
                _entry: entry,
            })
        }
    }

    /// Compiles a shader, with its assembly if that is wanted.
    pub fn compile(&self, binary: &Binary, entry: &str, assembly: bool) -> Result<Compiled> {
        let name = CString::new(entry)?;
        let bindings: Vec<_> = binary
            .bindings
            .iter()
            .map(|&(binding, uniform)| {
                let kind = if uniform {
                    vk::DescriptorType::UNIFORM_BUFFER
                } else {
                    vk::DescriptorType::STORAGE_BUFFER
                };
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        // SAFETY: as in `open`; the SPIR-V is what naga wrote of a module that it validated, and everything made here is of this
        // device and is destroyed before the end, the pipeline last used before that.
        unsafe {
            let device = &self.device;
            let set = device.create_descriptor_set_layout(
                &vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings),
                None,
            )?;
            let sets = [set];
            let layout = device
                .create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&sets), None)?;
            let module = device
                .create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&binary.words), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&name)
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
            let mut flags = vk::PipelineCreateFlags::empty();
            if self.statistics.is_some() {
                flags |= vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR;
                if assembly {
                    flags |= vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
                }
            }
            let wanted = vk::ComputePipelineCreateInfo::default().flags(flags).layout(layout).stage(stage);
            let begun = Instant::now();
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[wanted], None);
            let time = begun.elapsed();
            let result = match made {
                Err((_, error)) => Err(anyhow!("the driver refuses it: {error}")),
                Ok(pipelines) => {
                    let mut compiled = Compiled { time, ..Compiled::default() };
                    let read = self.statistics.as_ref().map_or(Ok(()), |statistics| {
                        self.read(statistics, pipelines[0], assembly, &mut compiled)
                    });
                    device.destroy_pipeline(pipelines[0], None);
                    read.map(|()| compiled)
                }
            };
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set, None);
            result
        }
    }

    /// # Safety
    /// `pipeline` is of this device, and was made with its statistics captured.
    unsafe fn read(
        &self,
        of: &ash::khr::pipeline_executable_properties::Device,
        pipeline: vk::Pipeline,
        assembly: bool,
        compiled: &mut Compiled,
    ) -> Result<()> {
        // SAFETY: the caller's, for the pipeline; each structure outlives the call that it is passed to.
        unsafe {
            let programs =
                of.get_pipeline_executable_properties(&vk::PipelineInfoKHR::default().pipeline(pipeline))?;
            for (i, program) in programs.iter().enumerate() {
                keep(&mut compiled.statistics, "Subgroup size".into(), f64::from(program.subgroup_size));
                let which =
                    vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(i as u32);
                for one in of.get_pipeline_executable_statistics(&which)? {
                    use vk::PipelineExecutableStatisticFormatKHR as Format;
                    let value = match one.format {
                        Format::FLOAT64 => one.value.f64,
                        Format::INT64 => one.value.i64 as f64,
                        Format::BOOL32 => f64::from(one.value.b32),
                        _ => one.value.u64 as f64,
                    };
                    keep(&mut compiled.statistics, text(&one.name), value);
                }
                if assembly {
                    // The first call only tells sizes: it leaves the pointers to the data null.
                    let mut texts = of.get_pipeline_executable_internal_representations(&which)?;
                    let mut data: Vec<Vec<u8>> = texts.iter().map(|one| vec![0; one.data_size]).collect();
                    for (one, data) in texts.iter_mut().zip(&mut data) {
                        one.p_data = data.as_mut_ptr().cast();
                    }
                    let mut count = texts.len() as u32;
                    let get = of.fp().get_pipeline_executable_internal_representations_khr;
                    get(self.device.handle(), &which, &mut count, texts.as_mut_ptr()).result()?;
                    let last = texts
                        .iter()
                        .zip(&data)
                        .rfind(|(one, _)| text(&one.name).to_lowercase().contains("assembly"));
                    compiled.assembly =
                        last.map(|(_, data)| String::from_utf8_lossy(data).trim_end_matches('\0').to_owned());
                }
            }
            Ok(())
        }
    }
}

fn keep(all: &mut BTreeMap<String, f64>, name: String, value: f64) {
    let known = all.entry(name).or_insert(value);
    *known = known.max(value);
}
