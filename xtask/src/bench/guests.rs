//! Measures in guests: the tiers that this machine's own kernel may refuse, and peers that need kprobes.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{BenchArgs, performance_page::Part, publish};
use crate::{
    build::Binaries,
    guest::{
        self, Accelerator, OTHER_TWTRACE,
        boot::{CommandEnd, Guest, Limits},
        kernels::{self, KernelSeries, SERIES},
        tools,
    },
    workspace::Workspace,
};

/// How often to boot a guest that dies or hangs, as emulated ones do now and then.
const BOOTS: u32 = 3;

/// Prefix of bench's progress messages, which come between the tables.
const PROGRESS: &str = "bench";

/// How the guests' code is executed.
pub fn accelerator(args: &BenchArgs) -> Accelerator {
    args.accel.unwrap_or(Accelerator::TcgCounted)
}

/// Boots a guest for each series, and publishes its section at once.
pub fn verb(workspace: &Workspace, args: &BenchArgs, binaries: &Binaries) -> Result<()> {
    tools::ensure_for_guests()?;
    let series: Vec<&KernelSeries> = if args.kernel.is_empty() {
        SERIES.iter().collect()
    } else {
        let named = args.kernel.iter().map(|name| kernels::series(name));
        named.collect::<Result<_>>()?
    };
    for series in series {
        let table = measure(workspace, args, binaries, series)?;
        if args.against.is_some() {
            println!("{table}");
            continue;
        }
        publish(workspace, args, Part::Guests, series.name, &table)?;
    }
    Ok(())
}

fn measure(
    workspace: &Workspace,
    args: &BenchArgs,
    binaries: &Binaries,
    series: &KernelSeries,
) -> Result<String> {
    let kernel = kernels::obtain(workspace, series, &args.source)?;
    let guest = Guest {
        workspace,
        kernel: &kernel,
        binaries,
        accelerator: Some(accelerator(args)),
        cpus: guest::CPUS,
        programs: tools::guest_peers().collect(),
        other: args.against.as_deref(),
    };
    // Instruction counts hardly differ between runs.
    let size = if args.quick {
        "--pairs 1 --connections 500"
    } else {
        "--pairs 3 --connections 3000"
    };
    let section = match args.against {
        Some(_) => format!("start,tiers --against {OTHER_TWTRACE}"),
        None => "tiers".to_owned(),
    };
    let command = format!("bench run --twtrace /bin/twtrace --section {section} {size}");
    let limits = Limits {
        whole: Duration::from_secs(1800),
        silence: Some(Duration::from_secs(300)),
    };
    let mut boot = 1;
    loop {
        let mut lines = Vec::new();
        let report = guest.run(std::slice::from_ref(&command), limits, &mut |_, line| {
            eprintln!("[{}] {line}", series.name);
            lines.push(line.to_owned());
        })?;
        match (
            report.trouble,
            report.outcomes.first().and_then(CommandEnd::code),
        ) {
            (None, Some(0)) => {
                return Ok(format!("### Linux {}\n\n{}", series.name, tables(&lines)));
            }
            (None, code) => bail!("{}: bench ended with {code:?}", series.name),
            (Some(trouble), _) if boot == BOOTS => bail!("{}: {trouble}", series.name),
            (Some(trouble), _) => eprintln!("[{}] {trouble}; booting it again", series.name),
        }
        boot += 1;
    }
}

/// The lines of a guest's output that belong on the page.
fn tables(lines: &[String]) -> String {
    let of_page: Vec<_> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| !line.starts_with(PROGRESS) && !line.starts_with("guest_init"))
        .collect();
    of_page.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bench_says_while_it_works_is_not_for_the_page() {
        let lines = ["bench: 1 of 3", "Linux 6.12", "", "| a |", "bench load: x"];
        let lines = lines.map(str::to_owned);
        assert_eq!(tables(&lines), "Linux 6.12\n\n| a |");
    }
}
