//! `twtrace serve`, as service managers, administrators and clients of every kind use it.

mod configuration;
mod counts;
mod endpoint;
mod findings;
mod history;
mod hostile;
mod manager;
mod privileges;
mod prometheus;
mod scrape;
pub mod service;
pub mod traffic;

use super::Usage;

pub const USAGES: &[Usage] = &[
    Usage {
        name: "serve/endpoint",
        run: endpoint::endpoint,
    },
    Usage {
        name: "serve/beyond_loopback",
        run: endpoint::beyond_loopback,
    },
    Usage {
        name: "serve/port_taken",
        run: endpoint::port_taken,
    },
    Usage {
        name: "serve/configuration",
        run: configuration::precedence,
    },
    Usage {
        name: "serve/bad_configuration",
        run: configuration::refused,
    },
    Usage {
        name: "serve/reload",
        run: configuration::reload,
    },
    Usage {
        name: "serve/manager",
        run: manager::notified,
    },
    Usage {
        name: "serve/privileges",
        run: privileges::kept,
    },
    Usage {
        name: "serve/privileges_to_start",
        run: privileges::to_start,
    },
    Usage {
        name: "serve/counts",
        run: counts::equal,
    },
    Usage {
        name: "serve/findings",
        run: findings::exported,
    },
    Usage {
        name: "serve/prometheus",
        run: prometheus::scraped,
    },
    Usage {
        name: "serve/history",
        run: history::killed,
    },
    Usage {
        name: "serve/history_full_disk",
        run: history::full_disk,
    },
    Usage {
        name: "serve/history_refused",
        run: history::refused,
    },
    Usage {
        name: "serve/hostile_clients",
        run: hostile::clients,
    },
];
