wit_bindgen::generate!({ path: ["../../../../../runtime-support/wasi/wit/io.wit", "../../../../../runtime-support/wasi/wit/clocks.wit", "../../../../../runtime-support/wasi/wit/random.wit", "../../../../../runtime-support/wasi/wit/filesystem.wit", "../../../../../runtime-support/wasi/wit/sockets.wit", "../../../../../runtime-support/wasi/wit/cli.wit"], inline: "package corpus:app; world net { include wasi:cli/imports@0.2.12; }", world: "corpus:app/net", generate_all });
use wasi::sockets::{instance_network::instance_network, network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress}, tcp::ShutdownType, tcp_create_socket::create_tcp_socket, udp_create_socket::create_udp_socket};
use wasi::io::poll::poll;
fn addr(port: u16) -> IpSocketAddress { IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) }) }
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let net = instance_network();
    let port: u16 = a.get(2).and_then(|p| p.parse().ok()).unwrap_or(0);
    match a.get(1).map(|s| s.as_str()) {
        Some("serve") => {
            let n: u32 = a.get(3).and_then(|p| p.parse().ok()).unwrap_or(1);
            let s = create_tcp_socket(IpAddressFamily::Ipv4).unwrap();
            s.start_bind(&net, addr(port)).unwrap(); s.finish_bind().unwrap(); s.start_listen().unwrap(); s.finish_listen().unwrap();
            if let IpSocketAddress::Ipv4(x) = s.local_address().unwrap() { println!("listening {}", x.port); }
            for _ in 0..n {
                s.subscribe().block();
                let (c, i, o) = s.accept().unwrap();
                let mut t = 0; loop { match i.blocking_read(4096) { Ok(b) => { t += b.len(); o.blocking_write_and_flush(&b).unwrap(); } Err(_) => break } }
                println!("echoed {t}"); drop(i); drop(o); drop(c);
            }
        }
        Some("client") => {
            let s = create_tcp_socket(IpAddressFamily::Ipv4).unwrap();
            s.start_connect(&net, addr(port)).unwrap();
            let (i, o) = loop { match s.finish_connect() { Ok(x) => break x, Err(ErrorCode::WouldBlock) => s.subscribe().block(), Err(e) => panic!("{e:?}") } };
            o.blocking_write_and_flush(b"ping over tcp").unwrap(); s.shutdown(ShutdownType::Send).unwrap();
            let mut r = vec![]; loop { match i.blocking_read(4096) { Ok(b) => r.extend(b), Err(_) => break } }
            println!("client got {:?}", String::from_utf8_lossy(&r));
        }
        _ => {
            // loopback self test in one instance: listener + client polled together, then UDP to self
            let l = create_tcp_socket(IpAddressFamily::Ipv4).unwrap(); l.start_bind(&net, addr(0)).unwrap(); l.finish_bind().unwrap(); l.start_listen().unwrap(); l.finish_listen().unwrap();
            let p = match l.local_address().unwrap() { IpSocketAddress::Ipv4(x) => x.port, _ => unreachable!() };
            let s = create_tcp_socket(IpAddressFamily::Ipv4).unwrap(); s.start_connect(&net, addr(p)).unwrap();
            let (mut conn, mut acc) = (None, None);
            while conn.is_none() || acc.is_none() {
                let (ps, pl) = (s.subscribe(), l.subscribe()); let _ = poll(&[&ps, &pl]);
                if conn.is_none() { match s.finish_connect() { Ok(x) => conn = Some(x), Err(ErrorCode::WouldBlock) => {}, Err(e) => panic!("{e:?}") } }
                if acc.is_none() { match l.accept() { Ok(x) => acc = Some(x), Err(ErrorCode::WouldBlock) => {}, Err(e) => panic!("{e:?}") } }
            }
            let (ci, co) = conn.unwrap(); let (_as, ai, ao) = acc.unwrap();
            co.blocking_write_and_flush(b"hello").unwrap(); let b = ai.blocking_read(100).unwrap(); ao.blocking_write_and_flush(&b.iter().rev().cloned().collect::<Vec<_>>()).unwrap(); let r = ci.blocking_read(100).unwrap();
            println!("tcp loop {:?}", String::from_utf8_lossy(&r));
            let u = create_udp_socket(IpAddressFamily::Ipv4).unwrap(); u.start_bind(&net, addr(0)).unwrap(); u.finish_bind().unwrap(); let ua = u.local_address().unwrap();
            let (ui, uo) = u.stream(None).unwrap(); uo.subscribe().block(); uo.check_send().unwrap(); uo.send(&[wasi::sockets::udp::OutgoingDatagram { data: b"dgram".to_vec(), remote_address: Some(ua) }]).unwrap();
            ui.subscribe().block(); let d = ui.receive(1).unwrap(); println!("udp loop {:?}", String::from_utf8_lossy(&d[0].data));
        }
    }
}
