//! Two nodes with a cache each, before one database. Whoever writes tells the other caches what to forget; a cache that was told
//! too much at once forgets everything, and is right again.
//!
//! `cargo run -p matryoshka-pubsub --example cache_invalidation`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use matryoshka_pubsub::memory::MemoryMesh;
use matryoshka_pubsub::{BroadcastError, PubSub, Publisher, SubscribeError, Subscription};

/// On it the keys are told whose values have changed.
const STALE: &str = "prices:stale";

/// Stands for one that is far away, and slow.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<HashMap<String, u32>>>);

impl Database {
    fn open(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Cache {
    database: Database,
    node: Publisher,
    stale: Subscription,
    entries: HashMap<String, u32>,
    loads: u32,
}

impl Cache {
    fn on(pubsub: &PubSub, database: &Database) -> Result<Self, SubscribeError> {
        let node = pubsub.publisher();
        Ok(Self {
            database: database.clone(),
            stale: node.subscribe(STALE)?,
            node,
            entries: HashMap::new(),
            loads: 0,
        })
    }

    fn get(&mut self, key: &str) -> Option<u32> {
        self.forget_what_is_stale();
        if let Some(known) = self.entries.get(key) {
            return Some(*known);
        }
        // What is told from here on waits in the mailbox: a change that this load misses is forgotten at the next look.
        self.loads += 1;
        let loaded = *self.database.open().get(key)?;
        self.entries.insert(key.to_owned(), loaded);
        Some(loaded)
    }

    fn put(&mut self, key: &str, value: u32) -> Result<(), BroadcastError> {
        // In this order: whoever is told, and looks, finds the new value.
        self.database.open().insert(key.to_owned(), value);
        self.node.broadcast_from(STALE, key)?;
        self.entries.insert(key.to_owned(), value);
        Ok(())
    }

    fn forget_what_is_stale(&mut self) {
        while let Some(told) = self.stale.try_next() {
            match told {
                Ok(message) => {
                    let key = String::from_utf8_lossy(message.payload());
                    self.entries.remove(&*key);
                }
                Err(lagged) => {
                    println!("{lagged}");
                    self.entries.clear();
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mesh, database) = (MemoryMesh::new(), Database::default());
    let nodes = ["a", "b"].map(|name| PubSub::with(mesh.node(name)));
    let (mut here, mut there) = (
        Cache::on(&nodes[0], &database)?,
        Cache::on(&nodes[1], &database)?,
    );

    here.put("tea", 3)?;
    assert_eq!([there.get("tea"), there.get("tea")], [Some(3); 2]);
    assert_eq!(there.loads, 1);
    here.put("tea", 4)?;
    assert_eq!((here.get("tea"), there.get("tea")), (Some(4), Some(4)));
    assert_eq!(
        (here.loads, there.loads),
        (0, 2),
        "who wrote need not forget"
    );

    // More than a mailbox holds, while the other one does not look.
    here.put("tea", 5)?;
    for sort in 0..2_000 {
        here.put(&format!("coffee {sort}"), sort)?;
    }
    assert_eq!(there.get("tea"), Some(5));
    println!("loads: {} here, {} there", here.loads, there.loads);
    Ok(())
}
