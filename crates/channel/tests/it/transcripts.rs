//! Two whole conversations, one in each version, as existing clients hold them.

use crate::client::{Client, Vsn};
use crate::lab::Lab;

#[tokio::test(start_paused = true)]
async fn version_2() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V2).await;
    client
        .play(
            r#"
            > [null,"1","phoenix","heartbeat",{}]
            < [null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]
            > ["7","8","lab:a","phx_join",{"reply":{"params":{"k":[1,null,"é"]}}}]
            < ["7","8","lab:a","phx_reply",{"response":{"params":{"k":[1,null,"é"]}},"status":"ok"}]
            > ["7",99,"lab:a","bare",{}]
            < ["7",99,"lab:a","phx_reply",{"response":{},"status":"ok"}]
            > [null,"14","lab:a","bare",{}]
            < ["7","14","lab:a","phx_reply",{"response":{},"status":"ok"}]
            > ["6","15","lab:a","bare",{}]
            .
            > ["7","17","lab:zzz","bare",{}]
            < [null,"17","lab:zzz","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]
            > ["7","18","lab:zzz","phx_leave",{}]
            < ["7","18","lab:zzz","phx_reply",{"response":{},"status":"ok"}]
            > ["30","30","lab:after","phx_join",{}]
            < ["30","30","lab:after","phx_reply",{"response":{},"status":"ok"}]
            > ["31","31","lab:after","phx_join",{"reply":{"hi":1}}]
            < ["31","31","lab:after","phx_reply",{"response":{"hi":1},"status":"ok"}]
            < ["30","30","lab:after","phx_close",{}]
            > ["31","32","lab:after","phx_leave",{}]
            < ["31","32","lab:after","phx_reply",{"response":{},"status":"ok"}]
            < ["31","31","lab:after","phx_close",{}]
            > ["1","1","lab:b","phx_join",{},"extra"]
            < ["1","1","lab:b","phx_reply",{"response":{},"status":"ok"}]
            > 00 01 02 05 04 "1" "22" "lab:b" "echo" ff 00
            < 01 01 02 05 02 "1" "22" "lab:b" "ok" ff 00
            > 00 01 02 05 07 "1" "23" "lab:b" "push_me" 00 01 ff
            < 00 01 05 06 "1" "lab:b" "pushed" 00 01 ff
            > 00 01 02 05 05 "1" "24" "lab:b" "shout" 07 08
            < 02 05 05 "lab:b" "shout" 07 08
            .
            "#,
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn version_1() {
    let lab = Lab::new();
    let mut client = Client::connect(&lab.sockets(), Vsn::V1).await;
    let frames = [
        (
            r#"{"topic":"lab:a","event":"phx_join","payload":{"reply":{"k":1}},"ref":"2"}"#,
            vec![
                r#"{"event":"phx_reply","payload":{"response":{"k":1},"status":"ok"},"ref":"2","topic":"lab:a"}"#,
            ],
        ),
        (
            r#"{"topic":"lab:a","event":"phx_join","payload":{"reply":{"k":1}},"ref":"6"}"#,
            vec![
                r#"{"event":"phx_reply","payload":{"response":{"k":1},"status":"ok"},"ref":"6","topic":"lab:a"}"#,
                r#"{"event":"phx_close","payload":{},"ref":null,"topic":"lab:a"}"#,
            ],
        ),
        (
            r#"{"topic":"lab:a","event":"say","payload":{"a":1},"ref":"7"}"#,
            vec![
                r#"{"event":"said","payload":{"a":1},"ref":null,"topic":"lab:a"}"#,
                r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"7","topic":"lab:a"}"#,
            ],
        ),
        (
            r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"8"}"#,
            vec![
                r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"8","topic":"phoenix"}"#,
            ],
        ),
        (
            r#"{"topic":"lab:a","event":"crash","payload":{},"ref":"9"}"#,
            vec![
                r#"{"event":"phx_error","payload":{"reason":"channel_crash"},"ref":null,"topic":"lab:a"}"#,
            ],
        ),
    ];
    for (sent, answers) in frames {
        client
            .send_frame(matryoshka_channel::transport::Frame::text(sent))
            .await;
        for answer in answers {
            client.play(&format!("< {answer}")).await;
        }
    }
    client.play(".").await;
}
