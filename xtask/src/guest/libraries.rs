//! Programs of the host that a guest runs, with the shared libraries they load.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// The shared libraries of a program and its loader, as ldd finds them; none for a static program.
pub fn of_program(program: &Path) -> Result<Vec<PathBuf>> {
    // ldd fails for static programs; its output is enough.
    let output = Command::new("ldd")
        .arg(program)
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .context("can't run ldd")?;
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn parse(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let path = line
                .split_once("=>")
                .map_or(line, |(_, found)| found.trim());
            let path = path.split(" (").next()?.trim();
            path.starts_with('/').then(|| PathBuf::from(path))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_read_from_ldd() {
        let text = "\tlinux-vdso.so.1 (0x7ffc)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x7f1)\n\
            \tlibgone.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x7f2)\n";
        let expected: Vec<PathBuf> = [
            "/lib/x86_64-linux-gnu/libz.so.1",
            "/lib64/ld-linux-x86-64.so.2",
        ]
        .map(PathBuf::from)
        .to_vec();
        assert_eq!(parse(text), expected);
        assert!(parse("\tstatically linked\n").is_empty());
    }
}
