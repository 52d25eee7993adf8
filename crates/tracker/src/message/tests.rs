//! The wire: what goes in comes out, and nothing else gets in.

use proptest::prelude::*;

use super::*;

const AT: Position = Position {
    life: Life {
        incarnation: 5,
        started: 6,
    },
    seq: 7,
};

fn value() -> Value {
    Value {
        topic: "room:1".into(),
        key: "ann".into(),
        meta: Bytes::from_static(b"\xff\x00 any bytes"),
        owner: 9,
        born: Some(Life::first_of(1)),
        previous: Some(3),
        previous_born: None,
    }
}

fn every_kind() -> Vec<Message> {
    let put = Op {
        kind: Op::PUT,
        value: Some(value()),
        gone: Some(2),
    };
    let delete = Op {
        kind: Op::DELETE,
        value: None,
        gone: Some(4),
    };
    let stored = Stored {
        put_seq: 4,
        value: value(),
        held: true,
    };
    let offer = Offer {
        node: "n3".into(),
        at: AT,
        left: 5_000,
        formerly: vec![Life::first_of(3)],
    };
    let reference: PresenceRef = "LqtnsevVAAAAAAAB".parse().unwrap();
    let held = HeldValue {
        topic: "room:1".into(),
        key: "ann".into(),
        meta: Bytes::from_static(b"{}"),
        owner: 9,
        reference,
        previous: Some(reference),
        beside: vec![reference],
    };
    let hold = Op {
        kind: Op::HOLD,
        value: None,
        gone: Some(5),
    };
    vec![
        Message::Hello(Hello {
            at: AT,
            have: Some(AT),
            least: Some(AT.life),
            formerly: vec![Life::first_of(2)],
            goodbye: Some(Farewell::leaving()),
            held: vec![offer.clone()],
            hears: vec!["n3".into()],
        }),
        Message::Vector(Vector {
            at: AT,
            heard: vec![Heard {
                node: "n2".into(),
                at: AT,
            }],
            formerly: vec![Life::first_of(4)],
            goodbye: Some(Farewell::restarting(Duration::from_secs(9))),
            held: vec![offer.clone()],
        }),
        Message::Ops(Ops {
            life: AT.life,
            from: 7,
            ops: vec![put, delete, hold],
        }),
        Message::Pull(Pull {
            have: None,
            taken: Some(PartTaken { at: AT, part: 1 }),
        }),
        Message::Part(Part {
            at: AT,
            part: 0,
            parts: 2,
            entries: vec![stored],
        }),
        Message::PartTaken(PartTaken { at: AT, part: 1 }),
        Message::Goodbye(Goodbye {
            life: AT.life,
            farewell: Farewell::leaving(),
        }),
        Message::HeldPull(HeldPull {
            node: "n3".into(),
            life: AT.life,
            after: Some(3),
        }),
        Message::HeldPart(HeldPart {
            set: offer,
            after: Some(3),
            entries: vec![held],
            more: true,
        }),
        Message::Confirm(Confirm { at: AT }),
        Message::Confirmed(Confirm { at: AT }),
    ]
}

fn framed(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn every_message_comes_out_as_it_went_in() {
    for message in every_kind() {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).unwrap(), Some(message));
    }
}

#[test]
fn a_later_versions_kind_is_skipped() {
    assert!(matches!(
        Message::decode(&framed(900, b"whatever")),
        Ok(None)
    ));
}

#[test]
fn a_later_versions_field_is_ignored_and_an_earlier_versions_absence_is_fine() {
    #[derive(Serialize)]
    struct OtherHello {
        at: Position,
        mood: &'static str,
    }
    let body = rmp_serde::to_vec_named(&OtherHello {
        at: AT,
        mood: "good",
    });
    let decoded = Message::decode(&framed(kind::HELLO, &body.unwrap())).unwrap();
    let Some(Message::Hello(hello)) = decoded else {
        panic!("no hello: {decoded:?}");
    };
    assert_eq!(
        (hello.at, hello.have, hello.least, hello.goodbye),
        (AT, None, None, None)
    );
    assert!(hello.formerly.is_empty());
}

#[test]
fn what_is_not_exactly_a_message_is_malformed() {
    for message in every_kind() {
        let good = message.encode();
        for cut in 0..good.len() {
            assert!(Message::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = good.to_vec();
        longer.push(0);
        assert!(matches!(
            Message::decode(&longer),
            Err(Malformed::Length { .. })
        ));
        let body = &longer[HEADER..];
        let kind = u16::from_be_bytes([good[0], good[1]]);
        assert!(matches!(
            Message::decode(&framed(kind, body)),
            Err(Malformed::Trailing)
        ));
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut body = vec![0x81, 0xa4];
    body.extend(b"mood");
    body.extend([0x91; 10_000]);
    body.push(0xc0);
    assert!(matches!(
        Message::decode(&framed(kind::PULL, &body)),
        Err(Malformed::Body { .. })
    ));
}

#[test]
fn contradicting_numbers_are_refused() {
    let ops = Ops {
        life: AT.life,
        from: u64::MAX,
        ops: vec![Op {
            kind: Op::DELETE,
            value: None,
            gone: Some(1),
        }],
    };
    let entries = vec![Stored {
        put_seq: AT.seq + 1,
        value: value(),
        held: false,
    }];
    let part = |part, parts, entries| {
        Message::Part(Part {
            at: AT,
            part,
            parts,
            entries,
        })
    };
    for message in [
        Message::Ops(ops),
        part(1, 1, Vec::new()),
        part(0, 0, Vec::new()),
        part(0, 1, entries),
    ] {
        assert!(
            matches!(Message::decode(&message.encode()), Err(Malformed::Numbers)),
            "{message:?}"
        );
    }
}

/// All messages that name a number, each with that one.
fn with_number(seq: u64) -> Vec<Message> {
    let at = Position { seq, ..AT };
    let offer = Offer {
        node: "n3".into(),
        at,
        left: 5_000,
        formerly: Vec::new(),
    };
    let value = Value {
        previous: Some(seq),
        ..value()
    };
    let mut all = Vec::new();
    for message in every_kind() {
        match message {
            Message::Hello(hello) => {
                let held = vec![offer.clone()];
                all.push(Message::Hello(Hello {
                    at,
                    ..hello.clone()
                }));
                all.push(Message::Hello(Hello {
                    have: Some(at),
                    ..hello.clone()
                }));
                all.push(Message::Hello(Hello { held, ..hello }));
            }
            Message::Vector(vector) => {
                let (node, held) = ("n2".into(), vec![offer.clone()]);
                all.push(Message::Vector(Vector {
                    at,
                    ..vector.clone()
                }));
                all.push(Message::Vector(Vector {
                    heard: vec![Heard { node, at }],
                    ..vector.clone()
                }));
                all.push(Message::Vector(Vector { held, ..vector }));
            }
            Message::Ops(ops) => {
                let put = Op {
                    kind: Op::PUT,
                    value: Some(value.clone()),
                    gone: None,
                };
                let mut put_after = ops.clone();
                put_after.from = seq - put_after.ops.len() as u64;
                all.push(Message::Ops(put_after));
                for op in [
                    put,
                    Op {
                        kind: Op::DELETE,
                        value: None,
                        gone: Some(seq),
                    },
                ] {
                    let ops = Ops {
                        ops: vec![op],
                        ..ops.clone()
                    };
                    all.push(Message::Ops(ops));
                }
            }
            Message::Pull(pull) => {
                let taken = Some(PartTaken { at, part: 1 });
                all.push(Message::Pull(Pull {
                    taken,
                    ..pull.clone()
                }));
                all.push(Message::Pull(Pull {
                    have: Some(at),
                    ..pull
                }));
            }
            Message::Part(part) => {
                let stored = Stored {
                    put_seq: 1,
                    value: value.clone(),
                    held: false,
                };
                all.push(Message::Part(Part { at, ..part.clone() }));
                all.push(Message::Part(Part {
                    entries: vec![stored],
                    ..part
                }));
            }
            Message::PartTaken(taken) => {
                all.push(Message::PartTaken(PartTaken { at, ..taken }));
            }
            Message::Goodbye(_) => {}
            Message::HeldPull(pull) => all.push(Message::HeldPull(HeldPull {
                after: Some(seq),
                ..pull
            })),
            Message::HeldPart(part) => {
                all.push(Message::HeldPart(HeldPart {
                    set: offer.clone(),
                    ..part.clone()
                }));
                all.push(Message::HeldPart(HeldPart {
                    after: Some(seq),
                    ..part
                }));
            }
            Message::Confirm(_) => all.push(Message::Confirm(Confirm { at })),
            Message::Confirmed(_) => all.push(Message::Confirmed(Confirm { at })),
        }
    }
    all
}

/// Of a larger one a reference would keep a part, which is the number of another entry.
#[test]
fn a_number_without_room_in_a_reference_is_refused() {
    for message in with_number(PresenceRef::NUMBERS - 1) {
        let read = Message::decode(&message.encode());
        assert_eq!(read.expect("it has room"), Some(message));
    }
    for message in with_number(PresenceRef::NUMBERS) {
        assert!(
            matches!(Message::decode(&message.encode()), Err(Malformed::Numbers)),
            "{message:?}"
        );
    }
}

#[test]
fn an_operation_needs_no_more_than_its_overhead() {
    let longest = Value {
        owner: u64::MAX,
        born: Some(Life::last_of(u64::MAX)),
        previous: Some(u64::MAX),
        previous_born: Some(Life::last_of(u64::MAX)),
        ..value()
    };
    let text = longest.topic.len() + longest.key.len() + longest.meta.len();
    let op = Op {
        kind: Op::PUT,
        value: Some(longest.clone()),
        gone: Some(u64::MAX),
    };
    let stored = Stored {
        put_seq: u64::MAX,
        value: longest,
        held: true,
    };
    let sizes = [
        rmp_serde::to_vec_named(&op).unwrap().len(),
        rmp_serde::to_vec_named(&stored).unwrap().len(),
    ];
    assert!(
        sizes.iter().all(|size| *size <= text + OP_OVERHEAD_BYTES),
        "{sizes:?}"
    );
}

#[test]
fn only_what_nobody_would_miss_must_arrive() {
    let must: Vec<bool> = every_kind()
        .iter()
        .map(|message| Message::must_arrive(&message.encode()))
        .collect();
    let hello_and_goodbye = [0, 6];
    for (number, must) in must.into_iter().enumerate() {
        assert_eq!(must, hello_and_goodbye.contains(&number), "{number}");
    }
    assert!(!Message::must_arrive(b""));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Bytes of a peer gone mad: no panic, whatever they are.
    #[test]
    fn any_bytes_are_read_or_refused(kind in 0..20u16, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&framed(kind, &body));
        let _ = Message::decode(&body);
    }

    #[test]
    fn a_flipped_byte_is_read_or_refused(which in 0..11usize, at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = every_kind()[which].encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = Message::decode(&bytes);
    }
}

/// A small body may take much room once it is read, so there is a bound to it, and no message of ours comes near that.
#[test]
fn a_body_is_read_up_to_a_bound_and_ours_are_below() {
    let nothing = Op {
        kind: 9,
        value: None,
        gone: None,
    };
    let ops = |count| {
        Message::Ops(Ops {
            life: AT.life,
            from: 0,
            ops: vec![nothing.clone(); count],
        })
    };
    assert!(Message::decode(&ops(1_000).encode()).is_ok());
    let error = Message::decode(&ops(MAX_BODY_BYTES / 4).encode()).err();
    assert!(matches!(error, Some(Malformed::TooLarge(_))));
    let largest = Value {
        topic: "t".repeat(64 * 1024).into(),
        key: "k".repeat(crate::Tracker::MAX_KEY_BYTES).into(),
        meta: vec![0xff; crate::Tracker::MAX_META_BYTES].into(),
        ..value()
    };
    let put = Op {
        kind: Op::PUT,
        value: Some(largest),
        gone: Some(2),
    };
    let bytes = Message::Ops(Ops {
        life: AT.life,
        from: 0,
        ops: vec![put],
    })
    .encode();
    assert!(2 * (bytes.len() + crate::peer::CHUNK_BYTES) < MAX_BODY_BYTES);
}
