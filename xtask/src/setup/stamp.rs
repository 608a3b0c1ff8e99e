//! The stamp file: what setup chose, and when the chosen files were last modified.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{BpfToolchain, Core, Origin};
use crate::workspace::Workspace;

fn path(workspace: &Workspace) -> PathBuf {
    workspace.target.join("bpf-toolchain.json")
}

/// The previous choice, if none of its files has changed since.
pub fn read(workspace: &Workspace) -> Option<BpfToolchain> {
    let stamp: Value = serde_json::from_slice(&fs::read(path(workspace)).ok()?).ok()?;
    let text = |name: &str| stamp.get(name)?.as_str().map(str::to_owned);
    let toolchain = BpfToolchain {
        origin: Origin::from_name(&text("origin")?)?,
        rustc: text("rustc")?.into(),
        cargo: text("cargo")?.into(),
        core: match (text("core"), text("core_source")) {
            (Some(library), _) => Core::Ready(library.into()),
            (None, source) => Core::Source(source?.into()),
        },
        llvm_major: u32::try_from(stamp.get("llvm_major")?.as_u64()?).ok()?,
        linker: text("linker")?.into(),
        reason: text("reason")?,
    };
    let unchanged = toolchain.cargo.exists() && stamp.get("changed")? == &changed(&toolchain)?;
    unchanged.then_some(toolchain)
}

/// Keeps the choice for the next call.
pub fn write(workspace: &Workspace, toolchain: &BpfToolchain) -> Result<()> {
    let mut stamp = json!({
        "origin": toolchain.origin.name(),
        "rustc": toolchain.rustc,
        "cargo": toolchain.cargo,
        "llvm_major": toolchain.llvm_major,
        "linker": toolchain.linker,
        "reason": toolchain.reason,
        "changed": changed(toolchain),
    });
    match &toolchain.core {
        Core::Ready(library) => stamp["core"] = json!(library),
        Core::Source(directory) => stamp["core_source"] = json!(directory),
    }
    let path = path(workspace);
    fs::create_dir_all(&workspace.target)
        .and_then(|()| fs::write(&path, format!("{stamp:#}\n")))
        .with_context(|| format!("can't write {}", path.display()))
}

/// Modification times of the compiler, its core and the linker, in nanoseconds.
fn changed(toolchain: &BpfToolchain) -> Option<Value> {
    let core = toolchain.core.file();
    let times: Option<Vec<String>> = [toolchain.rustc.as_path(), &core, &toolchain.linker]
        .into_iter()
        .map(modified_ns)
        .collect();
    times.map(Value::from)
}

fn modified_ns(path: &Path) -> Option<String> {
    let time = fs::metadata(path).ok()?.modified().ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_nanos().to_string())
}
