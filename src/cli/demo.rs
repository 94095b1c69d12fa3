//! `larder demo`: everything once, on real data: a node, definitions, a month of New York's flights, an online
//! lookup, a training set.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::{
    cli::{
        CliError, Client, Server, WantedArgs, definitions, get,
        ingest::{Target, Totals, send_file},
        ingest_file::Reading,
        materialize::Materialize,
        operations, progress,
        training_set::TrainingSet,
    },
    clock::Clock,
    config::Config,
    node, telemetry,
};

#[derive(Args)]
pub struct Demo {
    /// Where the node keeps its data; a temporary directory that is removed at the end, where not given.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The address to listen on; a free port of 127.0.0.1 where not given, 127.0.0.1:6566 with --serve.
    #[arg(long)]
    listen: Option<String>,
    /// Stay up until Ctrl-C.
    #[arg(long)]
    serve: bool,
    /// Where to write the training set.
    #[arg(long, default_value = "training-set.parquet")]
    out: PathBuf,
}

/// The definitions and the sample are part of the program, so that it shows the same wherever it runs.
const DEFINITIONS: [(&str, &str); 7] = [
    ("entities.toml", include_str!("../../config/flights/entities.toml")),
    ("sources.toml", include_str!("../../config/flights/sources.toml")),
    ("views.toml", include_str!("../../config/flights/views.toml")),
    ("streams.toml", include_str!("../../config/flights/streams.toml")),
    ("batch.toml", include_str!("../../config/flights/batch.toml")),
    ("on_demand.toml", include_str!("../../config/flights/on_demand.toml")),
    ("services.toml", include_str!("../../config/flights/services.toml")),
];
const WEATHER: &[u8] = include_bytes!("../../config/flights/data/weather.parquet");
const PLANES: &[u8] = include_bytes!("../../config/flights/data/planes.parquet");
const LANDINGS: &[u8] = include_bytes!("../../config/flights/data/landings-2013-01.parquet");
const DEPARTURES: &[u8] = include_bytes!("../../config/flights/data/departures-2013-01.parquet");
const LABELS: &[u8] = include_bytes!("../../config/flights/data/labels-2013-01.parquet");

/// A moment in the middle of the sample, when there was weather to speak of.
const MOMENT: &str = "2013-01-31T12:00:00Z";
const FIRST_RUN: &str = "2013-01-02T00:00:00Z";

/// Rows of a kept directory are stored once, however often the demo is run.
const RUN: uuid::Uuid = uuid::Uuid::nil();

impl Demo {
    pub fn run(self) -> Result<(), CliError> {
        let kept = self.data.is_some();
        let data = match &self.data {
            Some(dir) => dir.clone(),
            None => std::env::temp_dir().join(format!("larder-demo-{}", std::process::id())),
        };
        let listen = match (&self.listen, self.serve) {
            (Some(listen), _) => listen.clone(),
            (None, true) => "127.0.0.1:6566".to_owned(),
            (None, false) => "127.0.0.1:0".to_owned(),
        };
        let flags = [
            ("data.dir".to_owned(), data.display().to_string()),
            ("server.listen".to_owned(), listen),
            ("log.level".to_owned(), "warn".to_owned()),
        ];
        let config = Config::load(None, operations::environment(), &flags).map_err(CliError::failed)?;
        let telemetry = telemetry::init(&config.log, &config.tracing).map_err(CliError::failed)?;
        let started = Instant::now();
        let running = node::spawn(config, Clock::system()).map_err(CliError::failed)?;
        let address = format!("http://{}", running.address());
        say(&format!("A node is up at {address} after {} ms", started.elapsed().as_millis()));
        let result = self.show(&address, &data);
        if result.is_ok() && self.serve {
            say("Serving; Ctrl-C ends it");
            running.wait_for_signal();
        }
        running.stop();
        telemetry.shutdown();
        if !kept {
            let _ = std::fs::remove_dir_all(&data);
        }
        result
    }

    fn show(&self, address: &str, data: &Path) -> Result<(), CliError> {
        let server = Server { server: address.to_owned(), api_key: None };
        let client = Client::new(&server)?;

        let files: Map<String, Json> =
            DEFINITIONS.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        let outcome = definitions::send(&client, files, "dry_run=false", None)?;
        let created = outcome["created"].as_array().map_or(0, Vec::len);
        say(&format!("{created} definitions applied, registry version {}", outcome["version"]));

        let sample = data.join("sample");
        std::fs::create_dir_all(&sample).map_err(|source| CliError::File { path: sample.clone(), source })?;
        let write = |name: &str, bytes: &[u8]| {
            let path = sample.join(name);
            std::fs::write(&path, bytes)
                .map(|()| path.clone())
                .map_err(|source| CliError::File { path, source })
        };
        say("Ingesting: the year's weather, all planes, January's landings and departures");
        let started = Instant::now();
        let mut totals = Totals::default();
        for (name, bytes, target) in [
            ("weather.parquet", WEATHER, Target::view("airport_weather")),
            ("planes.parquet", PLANES, Target::view("plane")),
            ("landings.parquet", LANDINGS, Target::source("landings")),
            ("departures.parquet", DEPARTURES, Target::source("departures")),
        ] {
            totals = send_file(&client, &target, &write(name, bytes)?, &Reading::default(), RUN, totals)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        say(&format!(
            "{} rows stored in both stores in {seconds:.2} s, each acknowledged after fsync",
            progress::count(totals.accepted + totals.resumed)
        ));

        say("A batch view, computed by SQL as of each day of January: history as it was");
        Materialize::over("route_stats", FIRST_RUN, MOMENT, server.clone()).run()?;

        let entity = json!({ "origin": "JFK", "dest": "EWR", "tailnum": "N14228" });
        let wanted = WantedArgs { service: Some("flight_delay".to_owned()), features: None };
        let shown = [entity];
        let request = || Some(vec![json!({ "distance": 21.0 })]);
        let read = |as_of| get::online(&client, &wanted, &shown, request(), as_of);
        say(&format!("The features of one flight as they were at {MOMENT}:"));
        get::print(&read(Some(MOMENT))?, &shown);
        say("The same now: weather of 2013 is older than its ttl, the plane is still the plane:");
        get::print(&read(None)?, &shown);

        say("A training set: each flight of January with its features 30 minutes before departure");
        let spine = write("labels.parquet", LABELS)?;
        TrainingSet::new(spine, wanted, self.out.clone(), server).run()?;
        say(&format!(
            "Look around:\n  metrics   {address}/metrics\n  API       {address}/openapi.json\n  tables    {}\n\n  \
             curl -s {address}/v1/online-features -H 'content-type: application/json' \\\n    \
             -d '{{\"feature_service\":\"flight_delay\",\"include\":[\"status\"],\
             \"request\":{{\"distance\":21}},\
             \"entities\":[{{\"origin\":\"JFK\",\"dest\":\"EWR\",\"tailnum\":\"N14228\"}}]}}'\n  \
             curl -s '{address}/v1/features?query=wind'\n  \
             curl -s {address}/v1/lineage/feature_view/airport_weather",
            data.join("offline").display(),
        ));
        if !self.serve {
            say("The node stops now; `demo --serve` keeps it up, `--data DIR` keeps its data");
        }
        Ok(())
    }
}

/// A step, on stderr.
fn say(text: &str) {
    eprintln!("\n▸ {text}");
}
