//! Columns of the tables, and of `trace`.

mod connections;
mod data;
mod ports;
mod top;
mod who;

use super::text::Text;

/// Each heading with its explanation, by what they are about.
pub const COLUMNS: [&[(&str, Text)]; 5] = [
    who::COLUMNS,
    connections::COLUMNS,
    ports::COLUMNS,
    data::COLUMNS,
    top::COLUMNS,
];
