//! Embeds every file of `shaders/` by its path, so that a new shader needs no list to be edited.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut files = Vec::new();
    walk(&root.join("shaders"), &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(root.join("shaders")).map_err(io::Error::other)?;
        let name = name.with_extension("").to_string_lossy().replace('\\', "/");
        let _ = writeln!(table, "    ({name:?}, include_str!({:?})),", file.to_string_lossy());
    }
    table.push(']');
    fs::write(out.join("shaders.rs"), table)?;
    println!("cargo:rerun-if-changed=shaders");
    println!("cargo:rustc-env=LOWBIT_COMMIT={}", commit(&root));
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "wgsl") {
            println!("cargo:rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}

/// The commit of a checkout; empty in a packaged crate, which has no `.git`.
fn commit(root: &Path) -> String {
    let git = root.join(".git");
    if !git.exists() {
        return String::new();
    }
    println!("cargo:rerun-if-changed={}", git.join("HEAD").display());
    println!("cargo:rerun-if-changed={}", git.join("logs/HEAD").display());
    let run = std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(root)
        .output();
    run.ok()
        .filter(|o| o.status.success())
        .map_or(String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}
