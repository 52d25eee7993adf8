//! A pool of workers with unique names: whoever wants one asks by name, a name is free again as soon as its worker is gone, and
//! a supervisor restarts those that die.
//!
//! `cargo run -p matryoshka-registry --example workers`

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use matryoshka_registry::{Change, Owner, Reason, RegisterError, UniqueRegistry};

type Workers = UniqueRegistry<String, Sender<Job>>;

/// What a worker is asked to do.
enum Job {
    Greet(&'static str, Sender<String>),
    Fail,
}

/// Starts a worker under a name that is its own for as long as it lives.
fn start(workers: &Workers, name: &str) -> Result<JoinHandle<()>, RegisterError> {
    let (sender, jobs) = channel();
    let owner = Owner::new();
    workers.register(&owner, name.into(), sender)?.detach();
    Ok(thread::spawn(move || work(owner, jobs)))
}

/// However this ends, by return or by panic, `_owner` is dropped, and the name with it.
fn work(_owner: Owner, jobs: Receiver<Job>) {
    for job in jobs {
        match job {
            Job::Greet(whom, answer) => drop(answer.send(format!("hello, {whom}"))),
            Job::Fail => panic!("this worker was asked to fail"),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let workers = Workers::new();
    let mut deaths = workers.listen(100)?;

    let first = start(&workers, "greeter")?;
    let taken = start(&workers, "greeter").expect_err("there is one already");
    println!("a second greeter is refused: {taken}");

    let (answer, answers) = channel();
    let greeter = workers.whereis("greeter").expect("it was just started");
    greeter.send(Job::Greet("anna", answer.clone()))?;
    println!("the greeter says: {}", answers.recv()?);

    greeter.send(Job::Fail)?;
    assert!(first.join().is_err(), "it panicked");
    loop {
        // A supervisor would sit here for ever.
        let change = deaths.recv_timeout(Duration::from_secs(5))?;
        if let Some(Change::Unregistered {
            key,
            reason: Reason::OwnerDied,
            ..
        }) = change
        {
            println!("{key} died; another one is started");
            start(&workers, &key)?;
            break;
        }
    }

    let greeter = workers.whereis("greeter").expect("it was started again");
    greeter.send(Job::Greet("ben", answer))?;
    println!("the new greeter says: {}", answers.recv()?);
    Ok(())
}
