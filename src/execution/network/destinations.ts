/**
 * The destinations of a network allow-list, and the addresses that no listed name may lead to.
 *
 * A destination is one host and one port, compared as text after lower-casing: there is one way to write each, so that
 * nothing has to be interpreted when a request is matched.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { domainToASCII } from "node:url";
import { ExecuteCodeError } from "../../contract/errors.ts";

export interface Destination {
  /** A lower-case name in ASCII (IDN as punycode), or a canonical IPv4 or IPv6 address, without brackets. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  /** Whether it may lead to a private address: only for what the machine's user has configured. */
  readonly private: boolean;
}

const FORM =
  "Write HOST:PORT, such as example.com:443 or [2001:db8::1]:443: no scheme, path, user, wildcard or range.";
const LONGEST_NAME = 253;
const LONGEST_SHOWN = 100;
/** Of ASCII names. Underscores are in use, whatever the standards say. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** What other parsers take for a part of an IPv4 address: decimal, octal or hexadecimal. */
const NUMERIC = /^(?:\d+|0x[\da-f]*)$/;

/**
 * A destination as `host:port` or `[v6]:port`; not `private`. Throws `invalid_request`, naming the entry, for
 * anything else, other spellings of addresses (octal, hexadecimal, decimal, IPv4-mapped) among it.
 */
export function parseDestination(text: string): Destination {
  const refuse = (why: string, remedy: string = FORM): ExecuteCodeError =>
    new ExecuteCodeError("invalid_request", {
      message: `${JSON.stringify(text.slice(0, LONGEST_SHOWN))} is no network destination: ${why}.`,
      remedy,
    });
  if (text === "") throw refuse("it is empty");
  if (isIPv6(text)) throw refuse("an IPv6 address stands in brackets", `Write [${text}]:443.`);
  if (/[\s\p{C}]/u.test(text)) throw refuse("it contains white space or invisible characters");
  if (text.includes("*")) throw refuse("wildcards are not supported", "List each host by itself.");
  if (/[/?#@%\\]/.test(text)) throw refuse("it is more than a host and a port");
  const parts = /^(?:\[(?<address>[^[\]]+)\]|(?<name>[^:[\]]+))(?::(?<port>[^:[\]]*))?$/.exec(text)?.groups;
  if (parts === undefined) throw refuse("it does not have that form");
  const { address, name, port } = parts;
  if (port === undefined || port === "") {
    const host = text.replace(/:$/, "");
    throw refuse("its port is missing", `Name the port, for HTTPS: ${host.slice(0, LONGEST_SHOWN)}:443.`);
  }
  const number = portNumber(port);
  if (number === null) throw refuse("a port is a number from 1 to 65535");
  const host = address === undefined ? canonicalName(name!) : canonicalV6(address);
  if (host === null) throw refuse("the host is neither a name nor an address in its canonical form");
  return { host, port: number, private: false };
}

/** As it is written in an allow-list. */
export function formatDestination({ host, port }: { readonly host: string; readonly port: number }): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * The host and port that a request names, lower-cased and otherwise untouched: only what is written as in the list can
 * be equal to it. Null for what is no `host:port`, or lacks a port where there is no default.
 */
export function parseAuthority(
  text: string,
  defaultPort: number | null,
): { host: string; port: number } | null {
  const parts = /^(?:\[([\da-f:.]+)\]|([a-z0-9._-]{1,253}))(?::(\d+))?$/i.exec(text);
  if (parts === null) return null;
  const [, address, name, port] = parts;
  const number = port === undefined ? defaultPort : portNumber(port);
  if (number === null || (address !== undefined && !isIPv6(address))) return null;
  return { host: (address ?? name)!.toLowerCase(), port: number };
}

function portNumber(text: string): number | null {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : null;
}

function canonicalName(text: string): string | null {
  if (isIPv4(text)) return text;
  // It also reads addresses in every spelling: what comes out as one was written in another.
  const name = domainToASCII(text.toLowerCase());
  const labels = name.split(".");
  if (isIP(name) !== 0 || name.length > LONGEST_NAME || NUMERIC.test(labels.at(-1)!)) return null;
  return labels.every((label) => LABEL.test(label)) ? name : null;
}

function canonicalV6(text: string): string | null {
  if (!isIPv6(text) || text.includes("%") || MAPPED.check(text, "ipv6")) return null;
  const lower = text.toLowerCase();
  return new URL(`http://[${lower}]`).hostname === `[${lower}]` ? lower : null;
}

const PRIVATE_V4: ReadonlyArray<readonly [network: string, prefix: number]> = [
  ["0.0.0.0", 8], // this network
  ["10.0.0.0", 8], // RFC 1918
  ["100.64.0.0", 10], // carrier-grade NAT
  ["127.0.0.0", 8], // loopback
  ["168.63.129.16", 32], // what Azure offers its machines
  ["169.254.0.0", 16], // link-local, with the metadata of clouds
  ["172.16.0.0", 12], // RFC 1918
  ["192.0.0.0", 24], // protocol assignments, with Oracle's metadata
  ["192.168.0.0", 16], // RFC 1918
  ["224.0.0.0", 4], // multicast
  ["240.0.0.0", 4], // reserved, and broadcast
];
const PRIVATE_V6: ReadonlyArray<readonly [network: string, prefix: number]> = [
  ["::", 128], // unspecified
  ["::1", 128], // loopback
  ["64:ff9b:1::", 48], // NAT64 of a network's own
  ["2001::", 32], // Teredo
  ["fc00::", 7], // unique local
  ["fe80::", 10], // link-local
  ["fec0::", 10], // site-local
  ["ff00::", 8], // multicast
];
/** IPv6 prefixes of 96 bits after which an IPv4 address follows: mapped, compatible, translated, NAT64. */
const EMBEDDING = ["::ffff:", "::", "::ffff:0:", "64:ff9b::"] as const;

const MAPPED = new BlockList();
MAPPED.addSubnet("::ffff:0:0", 96, "ipv6");

const PRIVATE = new BlockList();
for (const [network, prefix] of PRIVATE_V4) {
  PRIVATE.addSubnet(network, prefix, "ipv4");
  for (const before of EMBEDDING) PRIVATE.addSubnet(`${before}${network}`, 96 + prefix, "ipv6");
  // 6to4 has the address right after its first 16 bits.
  const [a, b, c, d] = network.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  PRIVATE.addSubnet(`2002:${a}${b}:${c}${d}::`, 16 + prefix, "ipv6");
}
for (const [network, prefix] of PRIVATE_V6) PRIVATE.addSubnet(network, prefix, "ipv6");

/**
 * Whether an address belongs to this machine, to a network that is not the internet, or to nobody; also when it is
 * embedded in an IPv6 address. True for what is no address, and for one with a zone.
 */
export function isPrivateAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 0 || address.includes("%")) return true;
  return PRIVATE.check(address, family === 4 ? "ipv4" : "ipv6");
}
