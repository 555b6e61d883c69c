//! `wasi:http` as generated from its interface files.

precast_bindgen::bindgen!({
    path: "wit",
    inline: "
        package precast:http;
        world proxy {
            import wasi:http/types@0.2.12;
            import wasi:http/outgoing-handler@0.2.12;
            export wasi:http/incoming-handler@0.2.12;
        }
    ",
    world: "precast:http/proxy",
    with: {
        "wasi:io": crate::preview2::bindings::wasi::io,
        "wasi:clocks": crate::preview2::bindings::wasi::clocks,
        "wasi:http/types/fields": crate::http::fields::Fields,
        "wasi:http/types/incoming-request": crate::http::message::IncomingRequest,
        "wasi:http/types/outgoing-request": crate::http::message::OutgoingRequest,
        "wasi:http/types/request-options": crate::http::message::RequestOptions,
        "wasi:http/types/response-outparam": crate::http::message::ResponseOutparam,
        "wasi:http/types/incoming-response": crate::http::message::IncomingResponse,
        "wasi:http/types/incoming-body": crate::http::message::Incoming,
        "wasi:http/types/future-trailers": crate::http::message::FutureTrailers,
        "wasi:http/types/outgoing-response": crate::http::message::OutgoingResponse,
        "wasi:http/types/outgoing-body": crate::http::message::Outgoing,
        "wasi:http/types/future-incoming-response": crate::http::message::FutureIncomingResponse,
    },
});
