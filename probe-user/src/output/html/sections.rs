//! The tables of the report, as in the terminal: both use the same grids.

use maud::{Markup, html};
use twtrace_core::model::report::Report;

use super::section;
use super::text::{attribute, shown};
use crate::output::table::grid::{Align, Grid};
use crate::output::table::{
    TableOptions, close_wait, destinations, ends, memory, ports, processes, reuse,
};

/// All sections that have rows.
pub fn render(report: &Report) -> Markup {
    let inferred_ends = if report.sees_ends() {
        ""
    } else {
        "Inferred: no hook of this kernel sees TIME_WAIT sockets end."
    };
    html! {
        @let by_process = processes::grid(report, TableOptions::default());
        @if by_process.is_empty() {
            (section("processes", "By process", &html! { p { "No TIME_WAIT, reset or abort." } }))
        }
        (table("processes", "By process", "", &by_process))
        (table("destinations", "By destination", "", &destinations::grid(report, TableOptions::default())))
        (table("ports", "Ephemeral port allocations, by process", "", &ports::grid(report, crate::output::table::SHOWN)))
        (table("ends", "How TIME_WAIT sockets ended, by the process that created them", inferred_ends, &ends::grid(report)))
        (table("reuse", "Reuse of TIME_WAIT sockets, by the process that connects", "",
               &reuse::grid_by_process(report)))
        (table("reuse-to", "Reuse of TIME_WAIT sockets, by destination", "", &reuse::grid_by_destination(report)))
        (table("close-wait", "CLOSE_WAIT at the end",
               "Closed by the peer, not by the process.", &close_wait::grid(report)))
        (table("unscanned", "Network namespaces without CLOSE_WAIT figures", "",
               &close_wait::unscanned_grid(report)))
        (section("memory", "Memory of TIME_WAIT sockets, whole host", &html! {
            p { (shown(&memory::in_words(report))) }
            (grid("Memory by process", &memory::grid(report)))
        }))
    }
}

/// A section, or nothing if there are no rows.
pub fn table<const N: usize>(id: &str, heading: &str, note: &str, rows: &Grid<N>) -> Markup {
    if rows.is_empty() {
        return html! {};
    }
    let body = html! {
        @if !note.is_empty() { p.note { (note) } }
        (grid(heading, rows))
    };
    section(id, heading, &body)
}

/// The table alone. A wide one scrolls separately, also by keyboard.
pub fn grid<const N: usize>(name: &str, rows: &Grid<N>) -> Markup {
    let class = |align: Align| match align {
        Align::Left | Align::Cut | Align::Tail => None,
        Align::Right => Some("n"),
    };
    html! {
        @if !rows.is_empty() {
            div.scroll tabindex="0" role="region" aria-label=(attribute(name)) {
                table {
                    thead {
                        tr {
                            @for (heading, align) in rows.headings() {
                                th scope="col" class=[class(*align)] {
                                    @if heading.is_empty() { span.unseen { "Remark" } }
                                    (heading)
                                }
                            }
                        }
                    }
                    tbody {
                        @for cells in rows.rows() {
                            tr {
                                @for (cell, (_, align)) in cells.iter().zip(rows.headings()) {
                                    td class=[class(*align)] { (shown(cell)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
