//! The configuration file, with the command line and the environment.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::service::{self, Service, check};
use crate::runner::Context;

/// The command line takes precedence over the environment, and that over the file.
pub fn precedence(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("twtrace.toml");
    fs::write(
        &file,
        "top-processes = 1\ntop-destinations = 2\nring-mb = 16\ncomm = [\"a\", \"b\"]\n",
    )?;
    let mut command = check(context, file.as_os_str(), &["--top-processes", "3"]);
    command
        .env("TWTRACE_TOP_PROCESSES", "4")
        .env("TWTRACE_TOP_DESTINATIONS", "5");
    let (code, said) = service::refused(command)?;
    ensure!(code == 0, "{said}");
    for line in [
        "top-processes = \"3\" # command line",
        "top-destinations = \"5\" # environment",
        "ring-mb = \"16\" # file",
        "comm = [\"a\", \"b\"] # file",
        "listen = \"127.0.0.1:10660\" # default",
    ] {
        ensure!(said.contains(line), "no {line:?} in {said}");
    }
    // Its output is a file with the same settings.
    fs::write(&file, &said)?;
    let (code, again) = service::refused(check(context, file.as_os_str(), &[]))?;
    ensure!(
        code == 0 && again.contains("top-processes = \"3\" # file"),
        "{again}"
    );
    Ok(())
}

/// Each mistake is one line with the file and the error.
fn is_refused(context: &Context, text: &str, words: &[&str]) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("twtrace.toml");
    fs::write(&file, text)?;
    let name = file.display().to_string();
    let check = check(context, file.as_os_str(), &[]);
    let mut serve = service::command(context, &["--config"]);
    serve.arg(&file);
    for command in [check, serve] {
        let (code, said) = service::refused(command)?;
        ensure!(
            code == 2 && said.lines().count() == 1 && said.contains(&name),
            "{text:?}: {code}: {said}"
        );
        for word in words {
            ensure!(said.contains(word), "{text:?}: no {word:?} in {said}");
        }
    }
    Ok(())
}

/// Invalid files.
pub fn refused(context: &Context) -> Result<()> {
    for (text, words) in [
        ("top-procesess = 1\n", ["top-procesess", "top-processes"]),
        ("top-processes = 0\n", ["top-processes", "1..=10000"]),
        ("top-processes =\n", ["line 1", ""]),
        ("\n\n[metrics]\n", ["metrics", ""]),
        ("slow-port = 1.5\n", ["slow-port", "float"]),
        ("config = \"other.toml\"\n", ["config", ""]),
    ] {
        is_refused(context, text, &words).with_context(|| text.to_owned())?;
    }
    let (code, said) = service::refused(check(context, "/nonexistent.toml".as_ref(), &[]))?;
    ensure!(
        code == 2 && said.contains("/nonexistent.toml") && said.contains("No such file"),
        "{code}: {said}"
    );
    Ok(())
}

/// SIGHUP reads it again; an error, or a setting that needs a restart, changes nothing.
pub fn reload(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("twtrace.toml");
    fs::write(&file, "comm = \"nobody\"\n")?;
    let name = file.to_str().context("a path of text")?;
    let service = Service::start(context, &["--config", name])?;
    for (text, says) in [
        ("comm = \"somebody\"\n", "was read again"),
        ("com = \"somebody\"\n", "stays as it is"),
        (
            "max-sockets = 4096\n",
            "take a restart: options for probing",
        ),
        ("remote = \":443\"\n", "take a restart: filters by address"),
    ] {
        fs::write(&file, text)?;
        service.signal(libc::SIGHUP)?;
        service.until_it_says(says)?;
        ensure!(crate::sys::http::get(service.address, "/readyz")?.status == 200);
    }
    service.stop().map(drop)
}
