//! Addresses of the kernel's symbols.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

use super::trial;

/// Address of a kernel symbol, or `None` if the kernel lacks it or hides it.
pub fn address(symbol: &str) -> Option<u64> {
    match trial::symbol_address(symbol) {
        Ok(address) => return Some(address),
        Err(error) => log::debug!("{symbol} is looked for in /proc/kallsyms: {error}"),
    }
    // The kernel formats each line when it is read, so reading stops at the symbol.
    address_in(BufReader::new(File::open("/proc/kallsyms").ok()?), symbol)
}

fn address_in(mut lines: impl BufRead, symbol: &str) -> Option<u64> {
    let needle = format!(" {symbol}\n");
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).ok()? > 0 {
        if line.ends_with(needle.as_bytes()) {
            let address = line.split(|byte| *byte == b' ').next()?;
            let address = u64::from_str_radix(std::str::from_utf8(address).ok()?, 16).ok()?;
            return (address != 0).then_some(address);
        }
        line.clear();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_found_by_its_whole_name_and_hidden_ones_are_none() {
        let text = "ffffffff81000010 t not_tw_timer_handler\nffffffff82006870 t tw_timer_handler\n\
            ffffffffc0000000 t tw_timer_handler\nffffffffc0000010 t other\t[module]\n";
        let found = |symbol| address_in(text.as_bytes(), symbol);
        assert_eq!(found("tw_timer_handler"), Some(0xffff_ffff_8200_6870));
        assert_eq!(found("timer_handler"), None);
        assert_eq!(address_in(&b"0000000000000000 t x\n"[..], "x"), None);
    }
}
