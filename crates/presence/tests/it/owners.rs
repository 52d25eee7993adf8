//! Presence without clients: any owner, one node.

use matryoshka_presence::channel::Broadcast;
use matryoshka_presence::channel::pubsub::PubSub;
use matryoshka_presence::channel::pubsub::registry::Owner;
use matryoshka_presence::tracker::UpdateError;
use matryoshka_presence::{
    DIFF_EVENT, MetaError, Presence, PresenceConfig, PresenceError, PresenceUpdateError,
};
use serde_json::{Value, json};

const TOPIC: &str = "topic";

#[tokio::test(start_paused = true)]
async fn n3_nobody_is_on_the_list_of_a_topic_without_members() {
    let presence = Presence::new(&PubSub::local());
    assert!(presence.list(TOPIC).is_empty());
    assert_eq!(presence.list(TOPIC).to_json().as_str(), "{}");
}

#[tokio::test(start_paused = true)]
async fn n6_get_by_key_gives_all_metas_of_that_key_alone() {
    let presence = Presence::new(&PubSub::local());
    let (a, b, c) = (Owner::new(), Owner::new(), Owner::new());
    assert!(presence.get_by_key(TOPIC, "anna").is_empty());
    let first = presence
        .of(&a)
        .track(TOPIC, "anna", &json!({ "n": 1 }))
        .await
        .unwrap();
    let second = presence
        .of(&b)
        .track(TOPIC, "anna", &json!({ "n": 2 }))
        .await
        .unwrap();
    presence.of(&c).track(TOPIC, "ben", &()).await.unwrap();
    let metas = presence.get_by_key(TOPIC, "anna");
    let mut references: Vec<_> = metas.iter().map(|meta| meta.reference()).collect();
    references.sort();
    assert_eq!(references, [first, second]);
    assert!(presence.get_by_key(TOPIC, "carl").is_empty());
    assert!(presence.get_by_key("another topic", "anna").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_list_shows_what_was_tracked_as_soon_as_track_returns() {
    let presence = Presence::new(&PubSub::local());
    let owner = Owner::new();
    for n in 0..50 {
        presence
            .of(&owner)
            .track(TOPIC, &format!("key-{n}"), &())
            .await
            .unwrap();
        assert_eq!(presence.list(TOPIC).len(), n + 1);
    }
    assert!(presence.of(&owner).untrack(TOPIC, "key-7").await);
    assert_eq!(presence.list(TOPIC).len(), 49);
    assert!(!presence.of(&owner).untrack(TOPIC, "key-7").await);
}

#[tokio::test(start_paused = true)]
async fn q9_errors_leave_the_list_as_it_was() {
    let presence = Presence::new(&PubSub::local());
    let owner = Owner::new();
    let no_object = presence.of(&owner).track(TOPIC, "anna", "text").await;
    assert!(matches!(
        no_object,
        Err(PresenceError::Meta(MetaError::NotAnObject))
    ));
    let nobody = presence.of(&owner).update(TOPIC, "anna", &()).await;
    assert!(matches!(nobody, Err(PresenceUpdateError::Update(_))));
    assert!(presence.list(TOPIC).is_empty());
    let reference = presence.of(&owner).track(TOPIC, "anna", &()).await.unwrap();
    let twice = presence.of(&owner).track(TOPIC, "anna", &()).await;
    assert!(matches!(twice, Err(PresenceError::Track(_))));
    let no_object = presence.of(&owner).update(TOPIC, "anna", &[1]).await;
    assert!(matches!(
        no_object,
        Err(PresenceUpdateError::Meta(MetaError::NotAnObject))
    ));
    assert_eq!(presence.get_by_key(TOPIC, "anna")[0].reference(), reference);
}

#[tokio::test(start_paused = true)]
async fn of_two_updates_side_by_side_none_is_lost() {
    let presence = Presence::new(&PubSub::local());
    let owner = Owner::new();
    let zero = json!({ "n": 0 });
    let track = presence.of(&owner).track(TOPIC, "anna", &zero);
    track.await.unwrap();
    let add = |n: u64| {
        presence
            .of(&owner)
            .update_with(TOPIC, "anna", move |meta: &mut Value| {
                meta["n"] = (meta["n"].as_u64().unwrap() + n).into();
            })
    };
    let (one, ten) = tokio::join!(add(1), add(10));
    let references = [one.unwrap(), ten.unwrap()];
    let [meta] = &presence.get_by_key(TOPIC, "anna")[..] else {
        panic!("one meta");
    };
    assert_eq!(meta.get::<Value>().unwrap(), json!({ "n": 11 }));
    assert!(references.contains(&meta.reference()));
    assert!(references.contains(&meta.previous().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn an_update_that_makes_no_meta_leaves_the_list_as_it_was() {
    #[derive(serde::Deserialize, serde::Serialize)]
    struct Numbered {
        n: u64,
    }
    let presence = Presence::new(&PubSub::local());
    let owner = Owner::new();
    let named = json!({ "name": "Anna" });
    let track = presence.of(&owner).track(TOPIC, "anna", &named);
    let reference = track.await.unwrap();
    let other_shape = presence
        .of(&owner)
        .update_with(TOPIC, "anna", |meta: &mut Numbered| meta.n = 1);
    assert!(matches!(
        other_shape.await,
        Err(PresenceUpdateError::Meta(MetaError::Shape(_)))
    ));
    let no_object = presence
        .of(&owner)
        .update_with(TOPIC, "anna", |meta: &mut Value| {
            *meta = json!("text");
        });
    assert!(matches!(
        no_object.await,
        Err(PresenceUpdateError::Meta(MetaError::NotAnObject))
    ));
    let nobody = presence
        .of(&owner)
        .update_with(TOPIC, "ben", |_: &mut Value| {});
    assert!(matches!(
        nobody.await,
        Err(PresenceUpdateError::Update(UpdateError::NoPresence))
    ));
    assert_eq!(presence.get_by_key(TOPIC, "anna")[0].reference(), reference);
}

#[tokio::test(start_paused = true)]
async fn all_that_an_owner_tracks_is_taken_off_all_lists() {
    let presence = Presence::new(&PubSub::local());
    let (owner, other) = (Owner::new(), Owner::new());
    for (owner, topic) in [(&owner, TOPIC), (&owner, "another"), (&other, TOPIC)] {
        presence.of(owner).track(topic, "anna", &()).await.unwrap();
    }
    assert_eq!(presence.of(&owner).untrack_all().await, 2);
    assert_eq!(presence.get_by_key(TOPIC, "anna").len(), 1);
    assert!(presence.list("another").is_empty());
    assert_eq!(presence.of(&owner).untrack_all().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_nobody_could_subscribe_to_is_refused() {
    let pubsub = PubSub::local();
    let presence = Presence::new(&pubsub);
    let owner = Owner::new();
    let longest = "t".repeat(pubsub.limits().topic_bytes());
    presence
        .of(&owner)
        .track(&longest, "anna", &())
        .await
        .unwrap();
    let longer = format!("{longest}t");
    let refused = presence.of(&owner).track(&longer, "anna", &()).await;
    assert!(matches!(
        refused,
        Err(PresenceError::TopicTooLong {
            bytes: 256,
            max: 255
        })
    ));
    assert!(presence.list(&longer).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_of_the_topic_sees_the_diffs() {
    let pubsub = PubSub::local();
    let presence = Presence::new(&pubsub);
    let mut messages = pubsub.subscribe(TOPIC).unwrap();
    let owner = Owner::new();
    let reference = presence.of(&owner).track(TOPIC, "anna", &()).await.unwrap();
    let message = messages.next().await.unwrap().unwrap();
    let diff = Broadcast::from_message(&message).unwrap().unwrap();
    assert_eq!((diff.topic().as_ref(), diff.event()), (TOPIC, DIFF_EVENT));
    let joins = json!({ "anna": { "metas": [{ "phx_ref": reference }] } });
    assert_eq!(
        diff.to::<Value>().unwrap(),
        json!({ "joins": joins, "leaves": {} })
    );
    assert_eq!((presence.stats().diffs, presence.stats().resyncs), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn presences_of_two_names_share_nothing_and_of_one_name_there_is_one() {
    let pubsub = PubSub::local();
    let presence = Presence::new(&pubsub);
    let support = Presence::start(&pubsub, PresenceConfig::default().with_name("support")).unwrap();
    let owner = Owner::new();
    presence.of(&owner).track(TOPIC, "anna", &()).await.unwrap();
    assert!(support.list(TOPIC).is_empty());
    assert!(Presence::start(&pubsub, PresenceConfig::default()).is_err());
}

/// Tracked past our own checks, as another node's code may.
#[tokio::test(start_paused = true)]
async fn an_odd_meta_does_not_end_the_telling_of_diffs() {
    let pubsub = PubSub::local();
    let presence = Presence::new(&pubsub);
    let mut messages = pubsub.subscribe(TOPIC).unwrap();
    let owner = Owner::new();
    let odd = presence.tracker().track_bytes(&owner, TOPIC, "odd", "{ }");
    odd.await.unwrap().leave_to_owner();
    presence.of(&owner).track(TOPIC, "anna", &()).await.unwrap();
    for key in ["odd", "anna"] {
        let message = messages.next().await.unwrap().unwrap();
        let diff = Broadcast::from_message(&message).unwrap().unwrap();
        let diff: Value = diff.to().unwrap();
        assert!(diff["joins"][key]["metas"][0]["phx_ref"].is_string());
    }
}
