//! larder: a machine-learning feature store in one binary.
//!
//! # What it is
//!
//! Registry, online store, offline store and serving, as actors in one process on one machine, configured by files, scraped
//! by Prometheus. It is not a compute cluster and not a database server: it keeps features, serves the newest and joins the
//! right ones of the past.
//!
//! ```text
//! writes   http → doors → ingest → shard (fjall + foyer) → outbox → offline (Parquet in a Delta table)
//! reads    http → doors → serve → ShardReader (online)      http → doors → serve → as-of join (training sets)
//! facts    registry → everyone (immutable Catalog) everything → metrics
//! ```
//!
//! Four files to open first: `doors/mod.rs` (what can be asked of a node), `shard/shard.rs` (a group of writes becomes one atomic batch), `offline/join.rs` with
//! `compute/as_of.rs` (the value at a time), `node/start.rs` (how the parts are put together).
//!
//! # Layers: a module imports only from lines below it
//!
//! | layer | module | what it alone knows |
//! |---|---|---|
//! | 8 | `main.rs`, [`cli`] | exit codes, command line, progress bars |
//! | 7 | [`node`] | actix System, arbiters, start order, supervision, drain order |
//! | 6 | [`http`] | axum, wire forms, status codes |
//! | 5 | [`doors`] | one function per capability: authorise, admit, execute, observe |
//! | 4 | [`ingest`] · [`serve`] · [`backfill`] · [`backup`] · [`sql`] | decode, validate, route · plans, lookups, training sets · window state from history · backup, restore · DataFusion, runs of batch views |
//! | 3 | [`shard`] | fjall, foyer, key bytes, row codec |
//! | 2 | [`offline`] | Parquet, the Delta log, segments, point-in-time reads |
//! | 1 | [`actor`] | links to actors, their deaths, the registry's actor |
//! | 0 | [`config`], [`manual`], [`telemetry`] | settings, pages, logs |
//!
//! Below them are packages of their own, each with its `Cargo.toml` in its folder. The compiler keeps them from knowing what is
//! above, their tests compile without the rest, and a change in one does not compile the others of its floor:
//!
//! | floor | package | knows |
//! |---|---|---|
//! | 2 | [`registry`] | definitions, versions, compatibility, lineage |
//! | 1 | [`compute`] · [`format`](mod@format) · [`expression`] | kernels: as-of, windows, retention · Arrow, Parquet, CSV, JSON · SQL scalar expressions (the only one with DataFusion's functions) |
//! | 0 | [`model`] · [`metrics`] | values, keys, times, names; also [`error`] codes, the [`clock`], [`priority`], [`failpoint`] · names of metrics |
//!
//! Only owners of mutable durable state are actors: one `ShardActor` per shard, the `SegmentWriterActor`, the
//! `RegistryActor`, and the `NodeSupervisor`. Readers, planners, joiners and validators are plain values.
//!
//! # What must never happen
//!
//! - A read waits in a mailbox. Shards publish read-only handles.
//! - Two keys of the online store have to agree for a read to be right: one (view, entity) is one key, one row.
//! - Anyone but a shard's thread writes rows to fjall or to the cache; the cache is filled after the commit and before the
//!   acknowledgement.
//! - A table is written by two shards. A table (a view's or a source's rows) belongs to one shard for ever, so a request is
//!   one atomic batch.
//! - `compute` does I/O. Validity (ttl, tombstones, order) is decided anywhere else than in `compute::as_of`.
//! - Training computes an on-demand feature by other code than serving does: both go through `serve::Computation`.
//! - A bound rests on an actor's mailbox: memory is bounded by permits that messages carry.
//! - An actor sets a timer: time comes as a `Tick` message, one at a time.
//! - The outbox forgets a row before the table's Delta log names it.
//! - A snapshot of the online store is taken while a shard may commit (`shard::Image`).
//! - Segments are merged without being checked first: changed bytes would get a right checksum.
//! - The offline store is read in another order than: tail, then snapshot, then drop of what both have.

/// The system's allocator keeps what joins and queries on short-lived threads let go: over twenty minutes of mixed load the
/// process grew by a quarter while no more was in use.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub use larder_compute as compute;
pub use larder_expression as expression;
pub use larder_format as format;
pub use larder_metrics as metrics;
pub use larder_model::{self as model, clock, error, failpoint, priority};
pub use larder_registry as registry;

pub mod actor;
pub mod backfill;
pub mod backup;
pub mod cli;
pub mod config;
pub mod doors;
pub mod http;
pub mod ingest;
pub mod manual;
pub mod node;
pub mod offline;
pub mod serve;
pub mod shard;
pub mod sql;
pub mod telemetry;
