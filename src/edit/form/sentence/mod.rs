//! What a rule does, in one plain sentence: `Accept new TCP connections to port 443 arriving on eth0`.
//!
//! The sentence is as honest as the reader: what is understood becomes words, what is not stands in it as
//! it was written (`… and only if: -m foo --bar`). It is about the rule alone, not about what other rules
//! leave of its packets. Text from the rule (names, prefixes) is given as it is: the drawing side strips.
//!
//! `packets` says which packets, by protocol, state, addresses, ports and interfaces; `clauses` what else
//! must hold, a line a match; `verbs` what is done with them.

mod clauses;
mod packets;
mod verbs;

use std::fmt::Write as _;

use super::Site;
use crate::ruleset::spec::{Match, Spec};
use packets::Packets;

/// The sentence about a rule. `in_builtin`: it stands in a built-in chain, where RETURN means the policy.
pub fn of(spec: &Spec<'_>, in_builtin: bool) -> String {
    let (mut packets, mut clauses, mut unknown) = (Packets::of(spec), Vec::new(), Vec::new());
    for one in &spec.matches {
        match one {
            Match::Unknown(odd) => unknown.push(clauses::as_written("-m", odd)),
            Match::Tcp(tcp) => {
                // Ports stand with the addresses, what else is said of the header behind.
                let mut rest = *tcp;
                if packets.ports(tcp.source_ports, tcp.destination_ports) {
                    (rest.source_ports, rest.destination_ports) = (None, None);
                }
                clauses.extend(clauses::of(&Match::Tcp(rest)));
            }
            one if packets.take(one) => {}
            one => clauses.extend(clauses::of(one)),
        }
    }
    let verb = verbs::of(spec, in_builtin);
    let mut text = format!("{} {}", verb.before, packets.words());
    text.push_str(&packets.ends());
    for (number, clause) in clauses.iter().enumerate() {
        text.push_str(if number == 0 { ", " } else { " and " });
        text.push_str(clause);
    }
    if !clauses.is_empty() && verb.after.starts_with(' ') {
        text.push(',');
    }
    text.push_str(&verb.after);
    if let Some(family) = spec.only_family {
        let _ = write!(
            text,
            "; only where it is loaded into the {} rules",
            family.name()
        );
    }
    if !unknown.is_empty() {
        text.push_str("; and only if: ");
        text.push_str(&unknown.join(" "));
    }
    if !spec.stray.is_empty() {
        let words = spec.stray.iter().map(|word| lossy(word.raw));
        let words = words.collect::<Vec<_>>().join(" ");
        let _ = write!(text, "; {words}: belongs to nothing");
    }
    text
}

/// The sentence about the text of a rule.
pub fn of_text(raw: &[u8], site: &Site) -> String {
    let is_chain = |name: &[u8]| site.is_chain(name);
    let in_builtin = site.builtin.binary_search(&site.chain).is_ok();
    of(&Spec::parse(raw, site.family, &is_chain), in_builtin)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `a`, `a or b`, `a, b or c`.
fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::form::tests::site;

    #[test]
    fn rules_in_plain_words() {
        let cases = [
            (
                "-i eth0 -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT",
                "Accept new TCP connections to port 443 arriving on eth0",
            ),
            ("-j DROP", "Drop every packet"),
            (
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "Accept packets of related or established connections",
            ),
            ("-m state --state INVALID -j DROP", "Drop invalid packets"),
            (
                "-p udp -m conntrack ! --ctstate ESTABLISHED -j DROP",
                "Drop UDP packets of any but established connections",
            ),
            (
                "-s 10.0.0.0/8 -p tcp -m multiport --dports 80,443,8000:8010 -j web",
                "Send TCP packets from 10.0.0.0/8 to port 80, 443 or 8000 to 8010 through the chain web",
            ),
            (
                "! -s 10.0.0.1 -d 10.0.0.2 -p tcp -m tcp ! --dport 22 -g web",
                "Send TCP packets from anywhere but 10.0.0.1 to 10.0.0.2 on any port but 22 to the chain web, not to come back",
            ),
            (
                "-p icmp -m icmp --icmp-type 8 -j ACCEPT",
                "Accept ICMP echo-request messages",
            ),
            (
                "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT",
                "Accept TCP packets, if they open a connection (SYN)",
            ),
            ("-i lo -j ACCEPT", "Accept packets arriving on lo"),
            (
                "! -i eth+ -o + -j ACCEPT",
                "Accept packets not arriving on an interface that begins with eth leaving by any interface",
            ),
            (
                "-m limit --limit 5/min --limit-burst 9 -j LOG --log-prefix \"a: \"",
                "Log packets, at most 5 a minute (9 at once), with the prefix \"a: \" and go on",
            ),
            (
                "-p tcp -j REJECT --reject-with tcp-reset",
                "Reject TCP packets and answer with a TCP reset",
            ),
            (
                "-p tcp --dport 80 -j DNAT --to-destination 10.0.0.5:8080",
                "Change the destination of TCP packets to port 80: it becomes 10.0.0.5 port 8080",
            ),
            (
                "-o eth0 -j MASQUERADE",
                "Hide packets leaving by eth0 behind the address of that interface",
            ),
            (
                "-m set --match-set bl src -j DROP",
                "Drop packets, if their source is in the set bl",
            ),
            ("-p tcp", "Count TCP packets, and do nothing else"),
            ("-j RETURN", "Leave every packet to the policy of the chain"),
            (
                "-m foo --bar 1 -j ACCEPT",
                "Accept packets; and only if: -m foo --bar 1",
            ),
            (
                "-m comment --comment x -j FOO --bar",
                "Give every packet to -j FOO --bar, which is not understood here",
            ),
            (
                "hello -j DROP",
                "Drop every packet; hello: belongs to nothing",
            ),
            (
                "-p tcp -m tcp --dport nonsense -j DROP",
                "Drop TCP packets; and only if: -m tcp --dport nonsense",
            ),
        ];
        for (rule, sentence) in cases {
            assert_eq!(of_text(rule.as_bytes(), &site("INPUT")), sentence, "{rule}");
        }
    }
}
