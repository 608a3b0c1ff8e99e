//! All output. One renderer per file.

pub mod coverage;
pub mod csv_table;
mod cut;
pub mod diagnosis;
pub mod difference;
pub mod explanation;
pub mod file;
pub mod fix_script;
pub mod folded;
pub mod html;
pub mod lines;
pub mod log_lines;
pub mod overview;
pub mod page;
pub mod progress;
pub mod prometheus;
pub mod status_line;
pub mod table;
pub mod target;
pub mod tiers;
pub mod trace_lines;
pub mod tui;
pub mod watch_screen;
mod what_if;
mod wrap;
pub mod writer;
