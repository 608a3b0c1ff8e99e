//! Licences of the linked components, which have to be distributed with the program. They are those of the SBOM's list; cargo-about makes its own
//! list, of crates alone. Which licences are allowed is in deny.toml.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

use super::components::Component;

/// Prefixes of the names of licence files.
const NAMES: [&str; 5] = ["license", "licence", "copying", "unlicense", "copyright"];

/// One text: the components with their licences, then each licence once with its components.
pub fn texts(parts: &[Component]) -> Result<Vec<u8>> {
    let mut text = String::from(
        "What is linked into twtrace, and under which licence. The source of each is at the address given by its\n\
         name and version; glibc's and libgcc's is Debian's.\n\n",
    );
    let mut by_licence: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in parts {
        let title = format!("{} {}", part.name, part.version);
        text.push_str(&format!("{title}: {}\n", part.licence));
        let Some(source) = &part.source else {
            continue;
        };
        for licence in files(source)? {
            by_licence.entry(licence).or_default().push(title.clone());
        }
    }
    for (licence, mut titles) in by_licence {
        titles.dedup();
        let line = "-".repeat(100);
        text.push_str(&format!(
            "\n{line}\n{}:\n\n{}\n",
            titles.join(", "),
            licence.trim_end()
        ));
    }
    Ok(text.into_bytes())
}

fn files(source: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(source).with_context(|| format!("can't read {}", source.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if NAMES.iter().any(|beginning| name.starts_with(beginning)) && entry.path().is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let bytes = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
    };
    paths.into_iter().map(read).collect()
}
