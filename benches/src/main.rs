//! Measurements of the hot paths, each as a ratio to a bare baseline in the same run: digits differ between machines, ratios
//! hardly do.
//!
//! `cargo run -p matryoshka-benches --release`, or with the beginnings of the names of those that are wanted behind `--`.

mod bar;
mod dispatch;
mod harness;
mod interest;
mod mesh;
mod presence_rooms;
mod pubsub_huge;
mod pubsub_rivals;
mod pubsub_slow;
mod registry_churn;
mod registry_giant;
mod sockets;
mod tracker;

/// Every measurement, by the name it is asked for.
const ALL: [(&str, fn()); 29] = [
    ("dispatch", dispatch::run),
    ("pubsub-huge", pubsub_huge::run),
    ("pubsub-rivals", pubsub_rivals::run),
    ("pubsub-slow", pubsub_slow::run),
    ("interest", interest::run),
    ("mesh-heal", mesh::heal),
    ("mesh-idle", mesh::idle),
    ("mesh-latency", mesh::latency),
    ("mesh-loss", mesh::loss),
    ("mesh-rivals", mesh::rivals),
    ("mesh-sparse", mesh::sparse),
    ("mesh-throughput", mesh::throughput),
    ("presence-rooms", presence_rooms::run),
    ("registry-churn", registry_churn::run),
    ("registry-giant", registry_giant::run),
    ("sockets-deliver", sockets::deliver),
    ("sockets-echo", sockets::echo),
    ("sockets-idle", sockets::idle),
    ("sockets-latency", sockets::latency),
    ("sockets-longpoll", sockets::longpoll),
    ("sockets-slow", sockets::slow),
    ("sockets-storm", sockets::storm),
    ("tracker-fresh", tracker::fresh),
    ("tracker-heal", tracker::heal),
    ("tracker-idle", tracker::idle),
    ("tracker-latency", tracker::latency),
    ("tracker-list", tracker::list),
    ("tracker-quiet", tracker::quiet),
    ("tracker-rate", tracker::rate),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted == [sockets::BARE_LOOP] {
        return sockets::serve_bare();
    }
    if wanted == [sockets::FLOOR] {
        return sockets::serve_floor();
    }
    println!(
        "medians; one thread, unless said; the baseline is measured in turn with each subject"
    );
    for (name, run) in ALL {
        if wanted.is_empty() || wanted.iter().any(|start| name.starts_with(start.as_str())) {
            run();
        }
    }
}
