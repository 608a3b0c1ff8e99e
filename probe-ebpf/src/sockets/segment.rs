//! Headers of a received segment, read from its `struct sk_buff`.

use twtrace_wire::Tuple;

use crate::{
    constants::offset,
    sockets::{
        read::read,
        tuple::{set_netns, set_v4, set_v6},
    },
};

/// Bits of [`header_flags`].
pub const TCP_SYN: u8 = 0x02;
pub const TCP_RST: u8 = 0x04;

/// The flags of the TCP header: byte 13.
#[inline(always)]
pub fn header_flags(skb: u64) -> u8 {
    read(transport_header(skb), 13)
}

/// Bytes of payload: from the end of the TCP header to that of the segment, wherever `data` points to meanwhile.
#[inline(always)]
pub fn payload_bytes(skb: u64) -> u32 {
    let header = transport_header(skb);
    let header_bytes = (read::<u8>(header, 12) >> 4) as u64 * 4;
    let end = read::<u64>(skb, offset!(skb_data)) + read::<u32>(skb, offset!(skb_len)) as u64;
    end.wrapping_sub(header + header_bytes) as u32
}

#[inline(always)]
fn transport_header(skb: u64) -> u64 {
    read::<u64>(skb, offset!(skb_head)) + read::<u16>(skb, offset!(skb_transport_header)) as u64
}

/// Fills the tuple of a received segment: its destination is the local end. Returns event flags.
#[inline(always)]
pub fn fill_tuple(tuple: &mut Tuple, skb: u64) -> u16 {
    *tuple = Tuple::default();
    let network =
        read::<u64>(skb, offset!(skb_head)) + read::<u16>(skb, offset!(skb_network_header)) as u64;
    let ports: [u16; 2] = read(transport_header(skb), 0);
    tuple.remote_port = u16::from_be(ports[0]);
    tuple.local_port = u16::from_be(ports[1]);
    if read::<u8>(network, 0) >> 4 == 6 {
        set_v6(tuple, read(network, 24), read(network, 8));
    } else {
        set_v4(tuple, read(network, 16), read(network, 12));
    }
    let net = net(skb);
    if net != 0 {
        set_netns(tuple, net);
    }
    0
}

/// The `struct net` of the device that received the segment, or 0.
#[inline(always)]
pub fn net(skb: u64) -> u64 {
    let device: u64 = read(skb, offset!(skb_dev));
    if device == 0 {
        return 0;
    }
    read(device, offset!(dev_net))
}
