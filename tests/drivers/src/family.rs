//! The drivers: what each is called, what it is started with, and which packages it comes from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Where a driver lies below the folder that `fetch` fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// The newest Mesa: its driver, and the shim that plays the kernel's part of the GPU, if it needs one.
    Mesa { driver: &'static str, shim: Option<&'static str> },
    /// What comes with Chromium.
    Chromium,
    /// The software driver that the tests use.
    System,
}

/// A driver, and the GPU that it is told to compile for.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name here, in tables and on the command line.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    home: Home,
    environment: &'static [(&'static str, &'static str)],
    /// The first word of its adapters' names.
    pub maker: &'static str,
    /// Whether it runs what it compiles.
    pub runs: bool,
}

const fn amd(name: &'static str, what: &'static str, id: &'static [(&'static str, &'static str)]) -> Family {
    let home = Home::Mesa { driver: "radeon", shim: Some("amdgpu") };
    Family { name, what, home, environment: id, maker: "AMD", runs: false }
}

const fn nvidia(
    name: &'static str,
    what: &'static str,
    id: &'static [(&'static str, &'static str)],
) -> Family {
    let home = Home::Mesa { driver: "nouveau", shim: Some("nouveau") };
    Family { name, what, home, environment: id, maker: "NVIDIA", runs: false }
}

const NVK: (&str, &str) = ("NVK_I_WANT_A_BROKEN_VULKAN_DRIVER", "1");

/// Every driver there is.
pub const FAMILIES: &[Family] = &[
    amd("navi31", "AMD RDNA 3 (RX 7900 XTX), ACO", &[("AMDGPU_GPU_ID", "navi31")]),
    amd("navi21", "AMD RDNA 2 (RX 6900 XT), ACO", &[("AMDGPU_GPU_ID", "navi21")]),
    amd("gfx1201", "AMD RDNA 4 (RX 9070 XT), ACO", &[("AMDGPU_GPU_ID", "gfx1201")]),
    amd("vega20", "AMD GCN 5 (MI50), ACO", &[("AMDGPU_GPU_ID", "vega20")]),
    nvidia("turing", "NVIDIA Turing, NAK", &[("NOUVEAU_CHIPSET", "162"), NVK]),
    nvidia("ada", "NVIDIA Ada, NAK", &[("NOUVEAU_CHIPSET", "192"), NVK]),
    nvidia("blackwell", "NVIDIA Blackwell, NAK", &[("NOUVEAU_CHIPSET", "1b2"), NVK]),
    Family {
        name: "apple",
        what: "Apple M1, Honeykrisp",
        home: Home::Mesa { driver: "asahi", shim: Some("asahi") },
        environment: &[],
        maker: "Apple",
        runs: false,
    },
    Family {
        name: "adreno",
        what: "Adreno 740, Turnip",
        home: Home::Mesa { driver: "freedreno", shim: Some("freedreno") },
        environment: &[("FD_GPU_ID", "740")],
        maker: "Adreno",
        runs: false,
    },
    Family {
        name: "lavapipe",
        what: "the newest lavapipe, with cooperative matrices",
        home: Home::Mesa { driver: "lvp", shim: None },
        environment: &[],
        maker: "llvmpipe",
        runs: true,
    },
    Family {
        name: "swiftshader",
        what: "SwiftShader: subgroups of 4, no f16, no 64-bit integers",
        home: Home::Chromium,
        environment: &[],
        maker: "SwiftShader",
        runs: true,
    },
    Family {
        name: "system",
        what: "the driver that the tests use",
        home: Home::System,
        environment: &[],
        maker: "llvmpipe",
        runs: true,
    },
];

/// The one called `name`.
pub fn named(name: &str) -> Result<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name).with_context(|| {
        let names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        format!("there is no driver {name}: expected one of {}", names.join(", "))
    })
}

impl Family {
    /// This program, started on the driver; `folder` is what `fetch` filled.
    pub fn command(&self, folder: &Path) -> Result<Command> {
        let program = std::env::current_exe()?;
        let mut command = match self.home {
            Home::System => Command::new(program),
            Home::Chromium => {
                let manifest = whole(folder, "chromium")?.join("usr/lib/chromium/vk_swiftshader_icd.json");
                let mut command = Command::new(program);
                command.env("VK_DRIVER_FILES", manifest);
                command
            }
            Home::Mesa { driver, shim } => {
                // Its C library is newer than the system's: it comes with a loader of its own.
                let root = whole(folder, "mesa")?;
                let libraries = root.join("usr/lib/x86_64-linux-gnu");
                let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
                command.arg("--library-path").arg(&libraries);
                if let Some(shim) = shim {
                    command.arg("--preload").arg(libraries.join(format!("lib{shim}_noop_drm_shim.so")));
                }
                command.arg(program).env("VK_DRIVER_FILES", manifest(&root, driver)?);
                command
            }
        };
        command.envs(self.environment.iter().copied()).env("VK_LOADER_LAYERS_DISABLE", "~all~");
        Ok(command)
    }
}

/// The packages' own manifest names a library by its name alone, which only the system's loader of libraries finds.
fn manifest(root: &Path, driver: &str) -> Result<PathBuf> {
    let text = std::fs::read_to_string(root.join(format!("usr/share/vulkan/icd.d/{driver}_icd.json")))?;
    let mut manifest: serde_json::Value = serde_json::from_str(&text)?;
    let library = manifest["ICD"]["library_path"].as_str().context("a manifest without a library")?;
    let name = library.rsplit('/').next().unwrap_or(library);
    manifest["ICD"]["library_path"] =
        root.join("usr/lib/x86_64-linux-gnu").join(name).to_string_lossy().into();
    let path = root.join(format!("{driver}.json"));
    // Two drivers may be started at once: what is there is whole at any time.
    let draft = root.join(format!("{driver}.{}.json", std::process::id()));
    std::fs::write(&draft, manifest.to_string())?;
    std::fs::rename(&draft, &path)?;
    Ok(path)
}

/// The folder of unpacked packages `name`.
pub fn whole(folder: &Path, name: &str) -> Result<PathBuf> {
    let root = folder.join(name);
    if !root.join(".whole").exists() {
        bail!("{} is not there: run tests/drivers/fetch {} {name}", root.display(), folder.display());
    }
    Ok(root.canonicalize()?)
}
