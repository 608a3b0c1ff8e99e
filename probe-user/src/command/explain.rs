//! `twtrace explain`

use std::io;

use anyhow::Result;
use thiserror::Error;
use twtrace_core::explain;

use super::print;
use crate::cli::ExplainArgs;
use crate::output::explanation;
use crate::output::page::Page;

/// A word without a text.
#[derive(Debug, Error)]
#[error("unknown id {id:?}{}; to list all: twtrace explain", hint(.id))]
pub struct UnknownId {
    id: String,
}

/// Prints the texts of a word, or the list of all words.
pub fn run(args: &ExplainArgs) -> Result<()> {
    let page = Page::of(io::stdout());
    Ok(print(text(&args.id.join(" "), page)?.as_bytes())?)
}

fn text(id: &str, page: Page) -> Result<String, UnknownId> {
    if id.is_empty() {
        return Ok(explanation::list(page));
    }
    let found = explain::find(id);
    if found.is_empty() {
        return Err(UnknownId { id: id.to_owned() });
    }
    Ok(explanation::texts(&found, page))
}

fn hint(id: &str) -> String {
    explain::nearest(id).map_or_else(String::new, |id| format!(", the nearest is {id:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_that_completion_offers_is_explained() {
        let page = Page::default();
        for it in explain::all() {
            for id in [it.id.to_owned(), explain::plain(it.id)] {
                assert!(text(&id, page).unwrap().contains(it.text.brief), "{id}");
            }
        }
        assert!(text("", page).unwrap().contains("\n  budget_full "));
    }

    #[test]
    fn an_unknown_id_is_one_line_with_the_nearest() {
        let error = text("budgetfull", Page::default()).unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown id \"budgetfull\", the nearest is \"budget_full\"; to list all: twtrace explain"
        );
        let error = text("qq\x1b\nqq", Page::default()).unwrap_err().to_string();
        assert!(!error.contains(['\x1b', '\n']), "{error}");
    }
}
