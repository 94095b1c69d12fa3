//! Every page, in the order in which a newcomer reads them.

use crate::manual::Page;

macro_rules! pages {
    ($($module:ident $name:literal $answers:literal),* $(,)?) => {
        /// Every page.
        pub const PAGES: &[Page] = &[$(Page {
            name: $name,
            answers: $answers,
            text: include_str!(concat!($name, ".md")),
        }),*];

        $(#[doc = include_str!(concat!($name, ".md"))]
        pub mod $module {})*
    };
}

pages! {
    start "start" "run larder, write a row, read it, build a training set",
    concepts "concepts" "what the words mean: entity, view, service, spine, ttl; the two stores",
    definitions "definitions" "declare entities, sources, views, services; what may change",
    ingest "ingest" "write rows, events and files; formats; retry safely; quarantine",
    windows "windows" "add an aggregation over a source's events; window modes; backfill",
    on_demand "on-demand" "compute features of the request by expressions",
    training_sets "training-sets" "join features to labels; named sets, splits, leak guard",
    sql "sql" "query history; batch feature views on a schedule",
    semantics "semantics" "which value holds at a time: ttl rules, order, times; what a status means",
    tables "tables" "read the tables with Spark, DuckDB, polars, pandas",
    durability "durability" "what an acknowledgement promises; crashes, repair, backups",
    operating "operating" "settings, memory limits, health, stopping, exit codes, disk",
    limits "limits" "how large a request or a definition may be, and what is answered beyond",
    http "http" "every HTTP call; an online read; why a value is what it is",
    internals "internals" "how larder is built, and what must never happen",
    changes "changes" "what is new, and what an upgrade changes",
}
