//! A replacement for aya-build, which can also build eBPF crates and runs cargo for that: it would add forty crates to
//! compile before ours. The build scripts of aya-ebpf and of its bindings call only this function of it.

use std::{env, fmt::Write};

/// The result, for use with `?` in a build script.
pub type Result<T> = std::result::Result<T, env::VarError>;

/// Architectures whose registers aya-ebpf knows.
const ARCHITECTURES: [&str; 9] = [
    "aarch64",
    "arm",
    "loongarch64",
    "mips",
    "mips64",
    "powerpc64",
    "riscv64",
    "s390x",
    "x86_64",
];

/// Prints the architecture that the programs are built for: that of `--cfg bpf_target_arch="..."`, otherwise the
/// host's.
///
/// # Errors
/// If cargo does not name the host.
pub fn emit_bpf_target_arch_cfg() -> Result<()> {
    print!("{}", instructions(|name| env::var(name))?);
    Ok(())
}

fn instructions(variable: impl Fn(&str) -> Result<String>) -> Result<String> {
    // Cargo sets it from the compiler's flags.
    const GIVEN: &str = "CARGO_CFG_BPF_TARGET_ARCH";
    let mut text = format!("cargo::rerun-if-env-changed={GIVEN}\n");
    if variable(GIVEN).is_err() {
        let host = variable("HOST")?;
        let architecture = host.split('-').next().unwrap_or(&host);
        let _ = writeln!(text, "cargo::rustc-cfg=bpf_target_arch=\"{architecture}\"");
    }
    let values = ARCHITECTURES.map(|name| format!("{name:?}")).join(", ");
    let _ = writeln!(
        text,
        "cargo::rustc-check-cfg=cfg(bpf_target_arch, values({values}))"
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(set: &'static [(&str, &str)]) -> Result<String> {
        instructions(|name| {
            let found = set.iter().find(|(other, _)| *other == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .ok_or(env::VarError::NotPresent)
        })
    }

    #[test]
    fn the_flag_comes_before_the_host() {
        let given = said(&[("CARGO_CFG_BPF_TARGET_ARCH", "arm"), ("HOST", "x86_64-x")]);
        assert!(!given.unwrap().contains("rustc-cfg="));
        let host = said(&[("HOST", "x86_64-unknown-linux-gnu")]).unwrap();
        assert!(
            host.contains("rustc-cfg=bpf_target_arch=\"x86_64\"\n"),
            "{host}"
        );
        assert!(said(&[]).is_err());
    }
}
