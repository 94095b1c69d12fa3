//! On-demand features over HTTP: what they are, what is refused, and that training computes what is served.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::Float32Type,
};
use larder::{
    doors::Admission,
    serve::{AsOf, Entities, Plan, Served, Wanted, explain::explain, request_columns},
    shard::StreamSet,
};
use serde_json::{Map, Value as Json, json};

use crate::support::{ARROW, CSV, NDJSON, TestNode};

const BASE: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user", type = "int64" }]

[[entity]]
name = "shop"
join_keys = [{ name = "shop", type = "string" }]

[[source]]
name = "clicks"
kind = "push"
schema = { user = "int64", amount = "float64" }

[[feature_view]]
name = "profile"
entities = ["user"]
ttl = "30d"
feature = [
  { name = "born", type = "int64" },
  { name = "score", type = "float64", default = 0.5 },
  { name = "name", type = "string" },
  { name = "taste", type = "array<float32, 3>" },
]

[[feature_view]]
name = "prices"
entities = ["shop"]
feature = [{ name = "rate", type = "float64" }]

[[stream_feature_view]]
name = "activity"
entities = ["user"]
source = "clicks"
aggregation = [
  { name = "n", function = "count", window = "1h", mode = "exact" },
  { name = "total", function = "sum", column = "amount", window = "1d", mode = "exact" },
]
"#;

const ON_DEMAND: &str = r#"
[[on_demand_feature_view]]
name = "verdict"
request = { price = "float64" }
uses = ["basket:share", "basket:old", "profile:name"]
feature = [
  { name = "label", type = "string", expression = "name || ':' || CAST(old AS varchar)" },
  { name = "dear", type = "bool", expression = "coalesce(share, 0) > 1 OR price > 100" },
]

[[on_demand_feature_view]]
name = "basket"
request = { price = "float64", year = "int64" }
uses = ["profile:born", "profile:score", "prices:rate", "activity:n", { feature = "activity:total", as = "spent" }]
feature = [
  { name = "age", type = "int64", expression = "year - born" },
  { name = "share", type = "float64", expression = "price * rate / spent" },
  { name = "weight", type = "float64", expression = "score * 2", default = -1.0 },
  { name = "busy", type = "bool", expression = "n > 1" },
  { name = "old", type = "int64", expression = "age / (n - 1)", default = 7 },
]

[[on_demand_feature_view]]
name = "likes"
request = { wish = "array<float32, 3>" }
uses = ["profile:taste"]
feature = [
  { name = "much", type = "float64", expression = "dot(taste, wish)" },
  { name = "what", type = "array<float32, 3>", expression = "coalesce(wish, taste)", default = [9.5, 9.5, 9.5] },
]
"#;

const NOW: &str = "2024-05-01T12:00:00Z";

fn node() -> TestNode {
    let node = TestNode::at(NOW);
    node.apply(&format!("{BASE}{ON_DEMAND}"));
    let profile = |user: i64, time: &str, born: i64, score: Json, name: &str, taste: Json| json!({ "user": user, "event_time": time, "born": born, "score": score, "name": name, "taste": taste });
    node.write(
        "profile",
        json!([
            profile(1, "2024-05-01T11:00:00Z", 2000, json!(0.75), "ann", json!([1.0, 0.5, 0.0])),
            profile(2, "2024-05-01T11:00:00Z", 1994, Json::Null, "bob", Json::Null),
            profile(4, "2024-01-01T00:00:00Z", 1990, json!(1.0), "old", Json::Null),
        ]),
    );
    node.write("prices", json!([{ "shop": "a", "event_time": "2024-05-01T11:00:00Z", "rate": 2.0 }]));
    let click = |user: i64, amount: f64| json!({ "user": user, "event_time": "2024-05-01T11:30:00Z", "amount": amount });
    let (status, body) = node.post_json(
        "/v1/sources/clicks/events",
        &json!({ "rows": [click(1, 10.0), click(1, 30.0), click(2, 5.0)] }),
    );
    assert_eq!(status, 200, "{body:#}");
    node
}

/// A read that must be answered, with statuses.
fn ask(node: &TestNode, features: &[&str], entities: Json, more: Json) -> Json {
    let mut body = json!({ "features": features, "entities": entities, "include": ["status"] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, answer) = node.post_json("/v1/online-features", &body);
    assert_eq!(status, 200, "{answer:#}");
    answer
}

const BASKET: [&str; 5] = ["basket:age", "basket:share", "basket:weight", "basket:busy", "basket:old"];

/// Five entities, what is asked for them, and what comes of it.
fn five() -> (Json, Json, Json, Json) {
    let entity = |user: i64, shop: Json| json!({ "user": user, "shop": shop });
    let a = || json!("a");
    let entities =
        json!([entity(1, a()), entity(2, a()), entity(3, json!("b")), entity(4, Json::Null), entity(1, a())]);
    let request = json!([
        { "price": 80.0, "year": 2024 }, { "price": 1.0, "year": 2024 }, { "price": 1.0, "year": null },
        { "price": 1.0, "year": 2024 }, { "price": null, "year": i64::MIN },
    ]);
    let values = json!([
        [24, 4.0, 1.5, true, 24],
        [30, 0.4, 1.0, false, null],
        [null, null, 1.0, false, 7],
        [null, null, 1.0, false, 7],
        [null, null, 1.5, true, 7],
    ]);
    let status = json!([
        ["PRESENT", "PRESENT", "PRESENT", "PRESENT", "PRESENT"],
        // A division by zero is its row's alone; the default of a score that is null is computed with.
        ["PRESENT", "PRESENT", "PRESENT", "PRESENT", "ERROR"],
        // Nobody knows user 3; user 4 is older than the ttl.
        ["NULL_VALUE", "NULL_VALUE", "PRESENT", "PRESENT", "DEFAULTED"],
        ["NULL_VALUE", "NULL_VALUE", "PRESENT", "PRESENT", "DEFAULTED"],
        // An overflow; what is computed from what failed sees a null.
        ["ERROR", "NULL_VALUE", "PRESENT", "PRESENT", "DEFAULTED"],
    ]);
    (entities, request, values, status)
}

#[test]
fn expressions_over_what_is_stored_and_what_is_asked() {
    let node = node();
    let (entities, request, values, status) = five();
    let body = ask(&node, &BASKET, entities.clone(), json!({ "request": request }));
    assert_eq!((&body["values"], &body["status"]), (&values, &status), "{body:#}");
    assert!(body["partial"].is_null(), "{body}");
    assert_eq!(body["feature_names"], json!(BASKET));

    // The same as columns, and as of the same moment from history.
    let columns = json!({ "price": [80.0, 1.0, 1.0, 1.0, null], "year": [2024, 2024, null, 2024, i64::MIN] });
    let body = ask(&node, &BASKET, entities.clone(), json!({ "request": columns }));
    assert_eq!((&body["values"], &body["status"]), (&values, &status), "{body:#}");
    let body = ask(&node, &BASKET, entities.clone(), json!({ "request": request, "as_of": NOW }));
    assert_eq!((&body["values"], &body["status"]), (&values, &status), "{body:#}");
    // Before anything was stored.
    let early = json!({ "request": request, "as_of": "2024-05-01T10:00:00Z" });
    let body = ask(&node, &BASKET, entities, early);
    assert_eq!(body["values"][0], json!([null, null, 1.0, false, 7]), "{body:#}");

    // One row for all, between values that are stored, which keep their times.
    let features = ["profile:name", "verdict", "basket:share"];
    let entities = json!([{ "user": 1, "shop": "a" }, { "user": 2, "shop": "a" }]);
    let more = json!({ "request": { "price": 20.0, "year": 2024 }, "include": ["status", "event_time", "age_ms", "window"] });
    let body = ask(&node, &features, entities, more);
    assert_eq!(body["values"], json!([["ann", "ann:24", false, 1.0], ["bob", null, true, 8.0]]), "{body:#}");
    assert_eq!(body["status"][1], json!(["PRESENT", "NULL_VALUE", "PRESENT", "PRESENT"]));
    assert_eq!(body["event_time"][0], json!(["2024-05-01T11:00:00Z", null, null, null]));
    assert_eq!((&body["age_ms"][0][1], &body["window"][0][1]), (&Json::Null, &Json::Null));

    let (_, metrics) = (0, node.request(reqwest::Method::GET, "/metrics").send().unwrap().text().unwrap());
    assert!(metrics.contains(r#"larder_online_values_total{view="basket",status="ERROR"}"#), "{metrics}");
}

#[test]
fn lists_and_arrow_answers() {
    let node = node();
    let entities = json!([{ "user": 1 }, { "user": 2 }, { "user": 3 }]);
    let request = json!({ "wish": [[2.5, 2.5, 2.5], null, null] });
    let body = ask(&node, &["likes"], entities.clone(), json!({ "request": request }));
    assert_eq!(
        body["values"],
        json!([[3.75, [2.5, 2.5, 2.5]], [null, [9.5, 9.5, 9.5]], [null, [9.5, 9.5, 9.5]]])
    );
    assert_eq!(body["status"][1], json!(["NULL_VALUE", "DEFAULTED"]));
    // One vector for all.
    let body =
        ask(&node, &["likes:much"], entities.clone(), json!({ "request": { "wish": [0.0, 4.0, 0.0] } }));
    assert_eq!(body["values"], json!([[2.0], [null], [null]]));

    let response = node
        .post("/v1/online-features")
        .header("Accept", ARROW)
        .json(&json!({ "features": ["likes"], "entities": entities, "request": request, "include": ["status"] }))
        .send()
        .unwrap();
    assert_eq!(response.status(), 200);
    let bytes = std::io::Cursor::new(response.bytes().unwrap());
    let batches: Vec<RecordBatch> =
        arrow::ipc::reader::StreamReader::try_new(bytes, None).unwrap().map(Result::unwrap).collect();
    let what = batches[0].column_by_name("likes:what").unwrap().as_list::<i32>();
    assert_eq!(what.value(0).as_primitive::<Float32Type>().values(), &[2.5, 2.5, 2.5]);
    assert_eq!(what.value(2).as_primitive::<Float32Type>().values(), &[9.5, 9.5, 9.5]);
    assert!(batches[0].column_by_name("likes:much").unwrap().is_null(1));
    let status = batches[0].column_by_name("likes:what:status").unwrap().as_string::<i32>();
    assert_eq!(status.value(1), "DEFAULTED");
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let node = node();
    let refused = |features: &[&str], request: Json| {
        let mut body = json!({ "features": features, "entities": [{ "user": 1, "shop": "a" }, { "user": 2, "shop": "a" }] });
        if !request.is_null() {
            body["request"] = request;
        }
        let (status, problem) = node.post_json("/v1/online-features", &body);
        assert_eq!(status, 422, "{problem:#}");
        problem["errors"].clone()
    };
    for (features, request, row, field, says) in [
        (
            &["basket"][..],
            Json::Null,
            None,
            "price",
            "`price` (float64) is missing; `basket` is computed from it",
        ),
        (&["verdict"], json!({ "price": 1.0 }), None, "year", "is missing; `basket` is computed from it"),
        (&["basket"], json!([{ "price": 1.0, "year": 1 }, { "price": 1.0 }]), Some(1), "year", "is missing"),
        (
            &["basket"],
            json!([{ "price": 1.0, "year": 1 }, { "price": "x", "year": 1 }]),
            Some(1),
            "price",
            "expected float64, got \"x\"",
        ),
        (
            &["basket"],
            json!([{ "price": 1.0, "year": 1.5 }, { "price": 1.0, "year": 1 }]),
            Some(0),
            "year",
            "expected int64, got 1.5",
        ),
        (
            &["basket"],
            json!({ "price": [1.0, true], "year": [1, 2] }),
            Some(1),
            "price",
            "expected float64, got true",
        ),
        (
            &["basket"],
            json!({ "price": [1.0], "year": [1, 2] }),
            None,
            "price",
            "has 1 values for 2 entities",
        ),
        (&["basket"], json!([{ "price": 1.0, "year": 1 }]), None, "request", "has 1 rows for 2 entities"),
        (&["basket"], json!([1, 2]), Some(0), "request", "each row is an object"),
        (
            &["basket"],
            json!("price"),
            None,
            "request",
            "a list of objects, an object of lists, or one object",
        ),
        (
            &["basket"],
            json!({ "price": 1.0, "year": 1, "yaer": 2 }),
            None,
            "yaer",
            "no feature asked for takes this column; known: ",
        ),
        (
            &["profile:born"],
            json!({ "price": 1.0 }),
            None,
            "price",
            "none of the features asked for takes columns of the request",
        ),
        (&["likes"], json!({ "wish": [1.0, 2.0] }), None, "wish", "expected array<float32, 3>, got 2 values"),
    ] {
        let errors = refused(features, request.clone());
        let error = errors.as_array().unwrap().iter().find(|error| error["field"] == field);
        let error = error.unwrap_or_else(|| panic!("{request}: {errors}"));
        assert_eq!(error["row"].as_u64(), row, "{request}: {errors}");
        assert!(error["reason"].as_str().unwrap().contains(says), "{request}: {errors}");
    }
    // What is not needed is not asked for; without entities nothing is.
    ask(&node, &["basket:busy"], json!([{ "user": 1 }]), json!({}));
    assert_eq!(ask(&node, &["basket"], json!([]), json!({}))["values"], json!([]));
}

/// One value for many entities is copied for each of them; so is one stored value that many entities have.
#[test]
fn what_is_copied_for_each_entity_is_bounded() {
    let node = TestNode::with(NOW, &[("limits.string_bytes", "8MiB")]);
    node.apply(&format!(
        "{BASE}\n[[on_demand_feature_view]]\nname = \"echo\"\nrequest = {{ t = \"string\", xs = \"array<float64>\" }}\n\
         uses = [\"profile:name\"]\nfeature = [\n\
         {{ name = \"same\", type = \"bool\", expression = \"t = 'x'\" }},\n\
         {{ name = \"first\", type = \"bool\", expression = \"xs IS NULL\" }},\n\
         {{ name = \"known\", type = \"bool\", expression = \"name = 'x'\" }},\n]\n"
    ));
    let name = "n".repeat(1 << 20);
    node.write("profile", json!([{ "user": 1, "event_time": "2024-05-01T11:00:00Z", "born": 1, "score": 1.0, "name": name, "taste": null }]));
    let text = |mebibytes: usize| "t".repeat(mebibytes << 20);
    let read = |path: &str, feature: &str, entities: usize, request: Json| {
        let entities = vec![json!({ "user": 1 }); entities];
        let mut body = json!({ "features": [format!("echo:{feature}")], "entities": entities });
        if !request.is_null() {
            body["request"] = request;
        }
        let (status, answer) = node.post_json(path, &body);
        (status, answer.to_string())
    };
    let online = "/v1/online-features";
    for (path, feature, entities, request, status, says) in [
        (online, "same", 1, json!({ "t": text(8) }), 200, "[[false]]"),
        (online, "same", 8, json!({ "t": text(8) }), 200, "[false]"),
        (online, "same", 9, json!({ "t": text(8) }), 413, "bytes of the request's values for all entities"),
        (online, "same", 1000, json!({ "t": text(1) }), 413, "1048576000 were asked for"),
        (online, "same", 1, json!({ "t": text(9) }), 422, "has 9437184 bytes, at most 8388608 are allowed"),
        (online, "same", 1, json!([{ "t": text(9) }]), 422, "has 9437184 bytes"),
        (online, "same", 1, json!({ "t": [text(9)] }), 422, "has 9437184 bytes"),
        (online, "first", 1000, json!({ "xs": vec![0.5; 1 << 20] }), 413, "8388608000 were asked for"),
        (online, "first", 1, json!({ "xs": vec![1; (1 << 20) + 1] }), 422, "has 8388616 bytes"),
        ("/v1/explain", "same", 1, json!({ "t": text(9) }), 422, "has 9437184 bytes"),
        // Whatever else is wrong.
        (online, "same", 1001, Json::Null, 413, "entities: more than the 1000 allowed"),
        (online, "known", 64, Json::Null, 200, "[false]"),
        (
            online,
            "known",
            65,
            Json::Null,
            413,
            "bytes of a feature that on-demand features are computed from",
        ),
    ] {
        let (found, said) = read(path, feature, entities, request);
        let said: String = said.chars().take(1_000).collect();
        assert_eq!(found, status, "{feature} {entities}: {said}");
        assert!(said.contains(says), "{feature} {entities}, {says}: {said}");
    }
}

/// Nothing is computed of an aggregate that is not there yet, as if it were null.
#[test]
fn what_is_computed_waits_for_aggregates_that_are_still_counted() {
    let node = node();
    let reads = &node.running().app().doors.parts.reads;
    let asked = [
        ("activity:n", "BACKFILLING", Json::Null),
        ("basket:busy", "BACKFILLING", Json::Null),
        ("basket:old", "BACKFILLING", json!(7)),
        ("verdict:dear", "BACKFILLING", Json::Null),
        ("verdict:label", "BACKFILLING", Json::Null),
        ("basket:age", "PRESENT", json!(24)),
        ("basket:weight", "PRESENT", json!(1.5)),
    ];
    let wanted = Wanted::Features(asked.iter().map(|(feature, ..)| (*feature).to_owned()).collect());
    // As it is before the first state begins.
    let plan = Arc::new(Plan::compile(&reads.catalog.current(), &StreamSet::default(), &wanted).unwrap());
    let entities = Entities::from_json(&plan, r#"[{ "user": 1, "shop": "a" }]"#, &reads.limits).unwrap();
    let request = json!({ "price": 200.0, "year": 2024 });
    let request =
        request_columns(&plan, Some(request), 1, &reads.limits, larder::model::TimeForm::EXPLICIT).unwrap();
    let mut newest = reads.newest(&plan, &entities).unwrap();
    assert!(newest.ahead.is_empty());
    newest.answer.compute(&request).unwrap();
    assert!(!newest.answer.partial);
    let explained = explain(reads, &plan, &entities, &request, AsOf::default()).unwrap();
    for (column, (feature, status, value)) in asked.into_iter().enumerate() {
        let (served, found) = newest.answer.value(0, column);
        let served = match served {
            Served::Cell(cell) => cell.to_value(&plan.columns[column].data_type).to_json(),
            Served::Value(value) => value.to_json(),
        };
        assert_eq!((served, found.as_str()), (value, status), "{feature}");
        assert_eq!(explained.values[column].status, status, "{feature}");
        let waits = explained.values[column].reason.contains("still being counted");
        assert_eq!(waits, status == "BACKFILLING", "{feature}: {}", explained.values[column].reason);
    }
}

#[test]
fn an_on_demand_view_cannot_be_written_deleted_or_backfilled() {
    let node = node();
    let row = json!({ "rows": [{ "user": 1, "age": 3 }] });
    for (path, body) in [
        ("/v1/feature-views/basket/rows", row),
        ("/v1/feature-views/basket/delete", json!({ "entities": [{ "user": 1 }] })),
        ("/v1/feature-views/basket/backfill", json!({})),
    ] {
        let (status, problem) = node.post_json(path, &body);
        assert_eq!(status, 422, "{path}: {problem:#}");
        assert!(problem.to_string().contains("`basket` is"), "{path}: {problem:#}");
    }
    assert_eq!(node.get("/v1/feature-views/basket/backfill").0, 422);
    assert_eq!(node.get("/v1/quarantine?view=basket").0, 422);
    let (status, shown) = node.get("/v1/feature-views/basket");
    assert_eq!((status, &shown["kind"]), (200, &json!("on_demand")));
    assert_eq!(shown["expressions"][0]["expression"], "year - born");
    let (_, hits) = node.get("/v1/features?query=dear");
    assert_eq!(hits[0]["entities"], json!(["user", "shop"]), "{hits}");
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}

/// Random rows, events and requests: whatever is served as of a moment, and now, a training set says of that moment.
#[test]
fn training_computes_what_is_served() {
    let node = TestNode::at(NOW);
    node.apply(&format!("{BASE}{ON_DEMAND}"));
    let mut dice = Dice(7);
    let time = |dice: &mut Dice| {
        format!("2024-05-01T{:02}:{:02}:{:02}Z", dice.roll(12), dice.roll(60), dice.roll(60))
    };
    let maybe = |dice: &mut Dice, value: Json| if dice.roll(5) == 0 { Json::Null } else { value };
    let mut profiles = Vec::new();
    let mut clicks = Vec::new();
    for _ in 0..150 {
        let (user, at) = (dice.roll(12), time(&mut dice));
        let born = dice.roll(60) + 1950;
        let born = maybe(&mut dice, json!(born));
        let score = dice.roll(9) as f64 / 7.0;
        let score = maybe(&mut dice, json!(score));
        profiles.push(json!({ "user": user, "event_time": at, "born": born, "score": score, "name": format!("u{user}") }));
        let (user, at, amount) = (dice.roll(12), time(&mut dice), dice.roll(50));
        clicks.push(json!({ "user": user, "event_time": at, "amount": amount as f64 / 3.0 }));
    }
    node.write("profile", json!(profiles));
    node.write(
        "prices",
        json!([
            { "shop": "a", "event_time": "2024-05-01T03:00:00Z", "rate": 1.1 },
            { "shop": "b", "event_time": "2024-05-01T06:00:00Z", "rate": 0.0 },
        ]),
    );
    let (status, body) = node.post_json("/v1/sources/clicks/events", &json!({ "rows": clicks }));
    assert_eq!(status, 200, "{body:#}");

    let mut spine = Vec::new();
    for row in 0..240 {
        let (user, year, price) = (dice.roll(14), dice.roll(3), dice.roll(40) as f64 / 9.0);
        let year = [json!(2024), json!(i64::MIN), Json::Null][year as usize].clone();
        let at = if row % 4 == 0 { NOW.to_owned() } else { time(&mut dice) };
        let price = maybe(&mut dice, json!(price));
        let shop = ["a", "b", "c"][dice.roll(3) as usize];
        spine.push(json!({ "user": user, "shop": shop, "event_time": at, "price": price, "year": year }));
    }
    let features = ["basket", "profile:score", "verdict", "activity:n"];
    let body: String = spine.iter().map(|row| format!("{row}\n")).collect();
    let response = node
        .post(&format!("/v1/training-sets?features={}", features.join(",")))
        .header("Content-Type", NDJSON)
        .header("Accept", NDJSON)
        .body(body)
        .send()
        .unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().unwrap());
    let failed = response.headers()["larder-failed-rows"].to_str().unwrap().to_owned();
    let trained: Vec<Map<String, Json>> =
        response.text().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(trained.len(), spine.len());

    let (mut errors, mut present) = (0, 0);
    for (row, trained) in spine.iter().zip(&trained) {
        let entities = json!([{ "user": row["user"], "shop": row["shop"] }]);
        let request = json!({ "price": row["price"], "year": row["year"] });
        let mut served = vec![ask(
            &node,
            &features,
            entities.clone(),
            json!({ "request": request, "as_of": row["event_time"] }),
        )];
        if row["event_time"] == NOW {
            served.push(ask(&node, &features, entities, json!({ "request": request })));
        }
        for served in served {
            for (i, name) in served["feature_names"].as_array().unwrap().iter().enumerate() {
                let column = name.as_str().unwrap().replace(':', "__");
                let value = trained.get(&column).unwrap_or(&Json::Null);
                assert_eq!(value, &served["values"][0][i], "{column} of {row}: {served}");
                present += usize::from(!value.is_null());
                let status = &served["status"][0][i];
                errors += usize::from(status == "ERROR" && served["values"][0][i].is_null());
            }
        }
        let known = ["basket__", "verdict__", "profile__score", "activity__n"];
        let leaked = trained.keys().find(|column| {
            row.get(*column).is_none() && !known.iter().any(|known| column.starts_with(known))
        });
        assert_eq!(leaked, None, "{trained:?}");
    }
    assert!(errors > 20 && present > 1000, "{errors} failed, {present} present");
    assert!(failed.contains("basket__age=") && failed.contains("basket__old="), "{failed}");
}

#[test]
fn spines_bring_what_requests_do() {
    let node = node();
    let post = |features: &str, spine: &str| {
        let response = node
            .post(&format!("/v1/training-sets?features={features}"))
            .header("Content-Type", CSV)
            .header("Accept", NDJSON)
            .body(spine.to_owned())
            .send()
            .unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    let head = "user,shop,event_time";
    let (status, text) = post("basket", &format!("{head},price\n1,a,2024-05-01T12:00:00Z,2\n"));
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("the spine has no column `year`; `basket` is computed from it"), "{text}");
    let (status, text) = post("basket:age", "user,event_time,year\n1,2024-05-01T12:00:00Z,soon\n");
    assert!((400..500).contains(&status) && text.contains("soon"), "{status} {text}");
    let (status, text) = post("basket:age", "user,event_time,year\n1,2024-05-01T12:00:00Z,2020\n");
    assert_eq!(
        (status, text.trim()),
        (200, r#"{"user":1,"event_time":"2024-05-01T12:00:00Z","year":2020,"basket__age":20}"#)
    );

    // JSON columns say their own types: what is whole may be an integer, what is not may not.
    let json = |year: Json| {
        let row = json!({ "user": 1, "event_time": NOW, "year": year });
        let response = node
            .post("/v1/training-sets?features=basket:age")
            .header("Content-Type", NDJSON)
            .header("Accept", NDJSON)
            .body(row.to_string())
            .send()
            .unwrap();
        (response.status().as_u16(), response.text().unwrap())
    };
    assert_eq!(json(json!(2021)).0, 200);
    let (status, text) = json(json!(2021.5));
    assert!((400..500).contains(&status), "{status} {text}");
}

#[test]
fn versions_stay_and_inputs_do_not_go() {
    let mut node = node();
    let service = |features: &str| format!("[[feature_service]]\nname = \"s\"\nfeatures = [{features}]\n");
    let other = ON_DEMAND.replace("score * 2", "score * 3");
    node.apply(&format!("{BASE}{other}{}", service("\"basket@1:weight\"")));
    let body = json!({ "feature_service": "s", "entities": [{ "user": 1 }] });
    let weight = |node: &TestNode| node.post_json("/v1/online-features", &body).1["values"][0][0].clone();
    assert_eq!(weight(&node), json!(1.5));
    assert_eq!(ask(&node, &["basket:weight"], json!([{ "user": 1 }]), json!({}))["values"], json!([[2.25]]));
    node.restart();
    assert_eq!(weight(&node), json!(1.5), "after a restart");

    let apply =
        |text: String| node.post_bytes("/v1/registry/apply?allow_retire=true", "application/toml", text);
    let without = BASE.replace("  { name = \"born\", type = \"int64\" },\n", "");
    let (status, problem) = apply(format!("{without}{other}"));
    assert_eq!(status, 409, "{problem:#}");
    let breaking = problem["breaking"][0].to_string();
    assert!(breaking.contains("on-demand feature view `basket` uses it"), "{breaking}");
    let gone = BASE.split("[[stream_feature_view]]").next().unwrap();
    let (status, problem) = apply(format!("{gone}{other}"));
    assert_eq!(status, 422, "{problem:#}");
    assert!(problem.to_string().contains("unknown feature view `activity`; it was retired"), "{problem:#}");
    let circle = other.replace(
        "uses = [\"profile:born\"",
        "uses = [{ feature = \"verdict:dear\", as = \"dear\" }, \"profile:born\"",
    );
    let (status, problem) = apply(format!("{BASE}{circle}"));
    assert_eq!(status, 422, "{problem:#}");
    assert!(problem.to_string().contains("in a circle: `verdict` → `basket` → `verdict`"), "{problem:#}");
    let (status, problem) = apply(format!("{BASE}{}", other.replace("year - born", "year - bron")));
    assert_eq!(status, 422, "{problem:#}");
    let text = problem["errors"][0].to_string();
    assert!(text.contains("unknown column `bron`") && text.contains("at character 8"), "{text}");
    assert!(problem["errors"][0]["field"].as_str().unwrap().starts_with("body:"), "{text}");
}

/// What is used becomes wider: a pinned version goes on to compute with the narrow type, and fails for what does not fit.
#[test]
fn a_pinned_version_keeps_the_types_of_its_inputs() {
    let node = TestNode::at(NOW);
    let definitions = |data_type: &str, service: &str| {
        format!(
            "[[entity]]\nname = \"user\"\njoin_keys = [{{ name = \"user\", type = \"int64\" }}]\n\
             [[feature_view]]\nname = \"profile\"\nentities = [\"user\"]\n\
             feature = [{{ name = \"n\", type = \"{data_type}\" }}]\n\
             [[on_demand_feature_view]]\nname = \"next\"\nuses = [\"profile:n\"]\n\
             feature = [{{ name = \"next\", type = \"{data_type}\", expression = \"n + 1\" }}]\n{service}"
        )
    };
    let service =
        |version: &str| format!("[[feature_service]]\nname = \"s\"\nfeatures = [\"next{version}\"]\n");
    node.apply(&definitions("int32", ""));
    node.apply(&definitions("int64", &service("@1")));
    let row = |user: i64, n: i64, time: &str| json!({ "user": user, "event_time": time, "n": n });
    let early = "2024-05-01T11:00:00Z";
    let big = i64::from(i32::MAX) + 10;
    node.write(
        "profile",
        json!([row(1, 5, early), row(2, big, early), row(3, 1, early), row(3, 9, "2024-05-01T13:00:00Z")]),
    );
    let users = json!([{ "user": 1 }, { "user": 2 }, { "user": 3 }]);
    for as_of in [Json::Null, json!(NOW)] {
        let body =
            json!({ "feature_service": "s", "entities": users, "as_of": as_of, "include": ["status"] });
        let (_, pinned) = node.post_json("/v1/online-features", &body);
        // The newest version of user 3 is yet to come.
        assert_eq!(pinned["values"], json!([[6], [null], [2]]), "{pinned:#}");
        assert_eq!(pinned["status"], json!([["PRESENT"], ["ERROR"], ["PRESENT"]]));
        let now = ask(&node, &["next"], users.clone(), json!({ "as_of": as_of }));
        assert_eq!(now["values"], json!([[6], [big + 1], [2]]), "{now:#}");
    }
    let spine = "user,event_time\n1,2024-05-01T12:00:00Z\n2,2024-05-01T12:00:00Z\n";
    let trained =
        node.post("/v1/training-sets?feature_service=s").header("Content-Type", CSV).header("Accept", NDJSON);
    let text = trained.body(spine).send().unwrap().text().unwrap();
    let column: Vec<Json> =
        text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()["next__next"].clone()).collect();
    assert_eq!(column, [json!(6), Json::Null]);
    let (status, problem) = node.post_bytes(
        "/v1/registry/apply?allow_retire=true",
        "application/toml",
        definitions("int64", &service("@9")),
    );
    assert_eq!(status, 422, "{problem:#}");
}

/// A number that is another one in the narrow type is never computed with, nor does it become a default.
#[test]
fn a_pinned_version_fails_for_numbers_that_its_types_cannot_hold() {
    let node = TestNode::at(NOW);
    let definitions = |whole: &str, short: &str| {
        format!(
            "[[entity]]\nname = \"user\"\njoin_keys = [{{ name = \"user\", type = \"int64\" }}]\n\
             [[feature_view]]\nname = \"profile\"\nentities = [\"user\"]\n\
             feature = [{{ name = \"n\", type = \"{whole}\" }}, {{ name = \"x\", type = \"{short}\" }}]\n\
             [[on_demand_feature_view]]\nname = \"next\"\nuses = [\"profile:n\", \"profile:x\"]\n\
             feature = [{{ name = \"whole\", type = \"{whole}\", expression = \"coalesce(n, 0) + 1\", default = 9 }},\n\
             {{ name = \"short\", type = \"{short}\", expression = \"x * 2\" }}]\n"
        )
    };
    node.apply(&definitions("int32", "float32"));
    node.apply(&definitions("float64", "float64"));
    let row = |user: i64, n: Json, x: f64| json!({ "user": user, "event_time": "2024-05-01T11:00:00Z", "n": n, "x": x });
    node.write(
        "profile",
        json!([
            row(1, json!(3.0), 0.5),
            row(2, json!(3.7), 1e300),
            row(3, json!(1e300), -0.25),
            row(4, Json::Null, 0.0)
        ]),
    );
    let users = json!([{ "user": 1 }, { "user": 2 }, { "user": 3 }, { "user": 4 }]);
    let pinned = ask(&node, &["next@1:whole", "next@1:short"], users.clone(), json!({}));
    assert_eq!(pinned["values"], json!([[4, 1.0], [null, null], [null, -0.5], [1, 0.0]]), "{pinned:#}");
    let (good, bad) = ("PRESENT", "ERROR");
    assert_eq!(pinned["status"], json!([[good, good], [bad, bad], [bad, good], [good, good]]), "{pinned:#}");
    let now = ask(&node, &["next:whole"], users, json!({}));
    assert_eq!(now["values"], json!([[4.0], [4.7], [1e300], [1.0]]), "{now:#}");
}

/// All that history can be read by at the same time is taken: what needs windows of the past times out, the rest does not.
#[test]
fn a_deadline_is_answered_with_what_there_is() {
    let node = node();
    let app = node.running().app();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let admission = &app.doors.admission;
    let held: Vec<_> =
        (0..Admission::WINDOWS).map(|_| runtime.block_on(admission.windows()).unwrap()).collect();
    let features = ["activity:n", "profile:name", "basket:busy", "basket:weight", "verdict:dear"];
    let entities = json!([{ "user": 1, "shop": "a" }]);
    let more = |as_of: Option<&str>| json!({ "request": { "price": 200.0 }, "deadline_ms": 200, "as_of": as_of, "include": ["status", "event_time"] });
    let body = ask(&node, &features, entities.clone(), more(Some(NOW)));
    assert_eq!(body["partial"], json!(true), "{body:#}");
    let out = "TIMED_OUT";
    assert_eq!(body["status"][0], json!([out, out, out, out, out]), "{body:#}");
    // A default stands in, and the status says for what.
    assert_eq!(body["values"][0], json!([null, null, null, -1.0, null]));

    // What the newest rows answer does not wait for history.
    let body = ask(&node, &features, entities.clone(), more(None));
    assert_eq!((&body["partial"], &body["status"][0][0]), (&Json::Null, &json!("PRESENT")), "{body:#}");

    drop(held);
    let body = ask(
        &node,
        &features,
        entities,
        json!({ "request": { "price": 200.0 }, "deadline_ms": 60_000, "as_of": NOW }),
    );
    assert_eq!(body["values"][0], json!([2, "ann", true, 1.5, true]), "{body:#}");
    assert!(body["partial"].is_null());
}

const ALONE: &str = r#"
[[on_demand_feature_view]]
name = "alone"
request = { f = "float64", words = "array<string>" }
feature = [
  { name = "twice", type = "float64", expression = "f * 2" },
  { name = "inverse", type = "float64", expression = "1 / f", default = -1.0 },
  { name = "said", type = "array<string>", expression = "words" },
  { name = "always", type = "int64", expression = "7" },
]
"#;

#[test]
fn features_of_the_request_alone_take_entities_as_columns() {
    let node = TestNode::at(NOW);
    node.apply("[[on_demand_feature_view]]\nname = \"d\"\nrequest = { f = \"float64\" }\nfeature = [{ name = \"x\", type = \"float64\", expression = \"f + 1\" }]");
    let values = |entities: Json, request: Json| {
        let answer = ask(&node, &["d:x"], entities, json!({ "request": request }));
        answer["values"].clone()
    };
    assert_eq!(values(json!({ "k": ["a", "b"] }), json!({ "f": 1 })), json!([[2.0], [2.0]]));
    assert_eq!(values(json!([{ "k": "a" }, { "k": "b" }]), json!({ "f": 1 })), json!([[2.0], [2.0]]));
    assert_eq!(values(json!({ "k": ["a", "b"] }), json!({ "f": [1, 2] })), json!([[2.0], [3.0]]));
    assert_eq!(values(json!({ "k": [] }), json!({ "f": 1 })), json!([]));
    assert_eq!(values(json!({}), json!({ "f": 1 })), json!([]));
    let uneven = json!({ "features": ["d:x"], "entities": { "k": [1, 2], "l": [1] }, "request": { "f": 1 } });
    assert_eq!(node.post_json("/v1/online-features", &uneven).0, 422);
    let scalar = json!({ "features": ["d:x"], "entities": { "k": "a" }, "request": { "f": 1 } });
    assert_eq!(node.post_json("/v1/online-features", &scalar).0, 422);
}

/// A request in which each row is told apart, to be written in every shape.
#[derive(Debug, Clone)]
struct Shaped {
    features: Vec<&'static str>,
    entities: Vec<Map<String, Json>>,
    request: Vec<Map<String, Json>>,
}

fn columns(rows: &[Map<String, Json>], names: &[&str]) -> Json {
    let column = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Json>();
    names.iter().map(|name| ((*name).to_owned(), column(name))).collect::<Map<_, _>>().into()
}

/// The request's columns that a feature takes.
fn taken(feature: &str) -> &'static [&'static str] {
    match feature {
        "basket:age" | "basket:old" => &["year"],
        "basket:share" | "verdict:dear" => &["price"],
        "verdict:label" => &["year"],
        "likes:much" | "likes:what" => &["wish"],
        "alone:twice" | "alone:inverse" => &["f"],
        "alone:said" => &["words"],
        _ => &[],
    }
}

fn shaped() -> impl proptest::strategy::Strategy<Value = Shaped> {
    use proptest::prelude::*;
    const ALL: [&str; 16] = [
        "alone:twice",
        "alone:inverse",
        "alone:said",
        "alone:always",
        "basket:age",
        "basket:share",
        "basket:weight",
        "basket:busy",
        "basket:old",
        "verdict:label",
        "verdict:dear",
        "likes:much",
        "likes:what",
        "profile:name",
        "prices:rate",
        "activity:total",
    ];
    let features = prop_oneof![
        proptest::sample::subsequence(ALL[..4].to_vec(), 1..4),
        proptest::sample::subsequence(ALL.to_vec(), 1..6),
    ];
    let entity = (0..5i64, prop_oneof![Just(json!("a")), Just(json!("b")), Just(Json::Null)]).prop_map(
        |(user, shop)| Map::from_iter([("user".to_owned(), json!(user)), ("shop".to_owned(), shop)]),
    );
    let number =
        || prop_oneof![Just(Json::Null), Just(json!(0.0)), (1..100i32).prop_map(|n| json!(f64::from(n)))];
    let wish = prop_oneof![Just(Json::Null), (0..4i8).prop_map(|n| json!([f32::from(n), 1.0, 0.5]))];
    let words =
        prop_oneof![Just(Json::Null), proptest::collection::vec("[a-c]{0,2}", 0..3).prop_map(|w| json!(w))];
    let brought =
        (number(), 2000..2030i64, wish, number(), words).prop_map(|(price, year, wish, f, words)| {
            let named = [("price", price), ("year", json!(year)), ("wish", wish), ("f", f), ("words", words)];
            named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>()
        });
    let rows = proptest::collection::vec((entity, brought.clone()), 0..4);
    (features, rows, any::<bool>()).prop_map(|(features, rows, same)| {
        let (entities, mut request): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        if same && let Some(first) = request.first().cloned() {
            request.iter_mut().for_each(|row| *row = first.clone());
        }
        Shaped { features, entities, request }
    })
}

#[test]
fn every_shape_of_a_request_has_the_same_answer() {
    use proptest::{
        strategy::{Strategy, ValueTree},
        test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    };
    let node = node();
    node.apply(&format!("{BASE}{ON_DEMAND}{ALONE}"));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut without_keys, mut alike) = (0, 0);
    for _ in 0..150 {
        let Shaped { features, entities, request } = shaped().new_tree(&mut runner).unwrap().current();
        let mut names: Vec<&str> = features.iter().flat_map(|feature| taken(feature)).copied().collect();
        names.sort_unstable();
        names.dedup();
        let only = |row: &Map<String, Json>| {
            row.iter()
                .filter(|(name, _)| names.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Map<_, _>>()
        };
        let rows: Vec<Map<String, Json>> = request.iter().map(only).collect();
        let mut brought = vec![json!(rows), columns(&rows, &names)];
        if let Some(first) = rows.first().filter(|first| rows.iter().all(|row| row == *first)) {
            brought.push(json!(first));
            alike += 1;
        }
        if names.is_empty() {
            brought.push(Json::Null);
        }
        without_keys += usize::from(features.iter().all(|feature| feature.starts_with("alone")));
        let (mut json_answers, mut arrow_answers) = (Vec::new(), Vec::new());
        for entities in [json!(entities), columns(&entities, &["user", "shop"])] {
            for request in &brought {
                let body = json!({ "features": features, "entities": entities, "request": request, "include": ["status", "event_time"] });
                let (status, answer) = node.post_json("/v1/online-features", &body);
                assert_eq!(status, 200, "{body}\n{answer:#}");
                assert_eq!(answer["values"].as_array().unwrap().len(), rows.len(), "{body}");
                json_answers.push(answer);
                let sent =
                    node.post("/v1/online-features").header("Accept", ARROW).json(&body).send().unwrap();
                assert_eq!(sent.status(), 200);
                let bytes = sent.bytes().unwrap();
                let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_ref(), None).unwrap();
                let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
                assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows.len());
                arrow_answers.push(batches);
            }
        }
        assert!(
            json_answers.windows(2).all(|pair| pair[0] == pair[1]),
            "{features:?} {rows:?}\n{json_answers:#?}"
        );
        assert!(arrow_answers.windows(2).all(|pair| pair[0] == pair[1]), "{features:?} {rows:?}");
    }
    assert!(without_keys > 20 && alike > 40, "{without_keys} {alike}");
}
