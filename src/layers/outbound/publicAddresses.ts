/**
 * Which internet addresses a request may go to on behalf of a caller. IPv6 is an allow-list: only global
 * unicast, without the ranges that carry an IPv4 address or belong to no machine. So the mapped, translated and tunnelled
 * forms of private addresses need no rule each.
 */
import { Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

const networks = (...texts: ReadonlyArray<string>) => texts.map(IpNetwork.fromStringUnsafe)

/** The ranges of the IANA registry of special-purpose addresses that are not global, and multicast. */
const refusedIpv4 = networks(
  "0.0.0.0/8", // this host
  "10.0.0.0/8", // private
  "100.64.0.0/10", // shared by carrier-grade NAT
  "127.0.0.0/8", // loopback
  "169.254.0.0/16", // link-local, and the metadata services of clouds
  "172.16.0.0/12", // private
  "192.0.0.0/24", // protocol assignments
  "192.0.2.0/24", // documentation
  "192.88.99.0/24", // 6to4 relays
  "192.168.0.0/16", // private
  "198.18.0.0/15", // benchmarks
  "198.51.100.0/24", // documentation
  "203.0.113.0/24", // documentation
  "224.0.0.0/4", // multicast
  "240.0.0.0/4" // reserved, and broadcast
)

const globalIpv6 = networks("2000::/3")

const refusedIpv6 = networks(
  "2001::/23", // protocol assignments, Teredo among them
  "2001:db8::/32", // documentation
  "2002::/16", // 6to4: an IPv4 address within
  "3fff::/20" // documentation
)

/** Whether the address belongs to the public internet. False for text that is no address. */
export const isPublicAddress = (text: string): boolean =>
  Result.match(NetAddress.ipFromString(text), {
    onFailure: () => false,
    onSuccess: (address) =>
      NetAddress.isIpv4Address(address)
        ? !refusedIpv4.some((network) => IpNetwork.contains(network, address))
        : globalIpv6.some((network) => IpNetwork.contains(network, address)) &&
          !refusedIpv6.some((network) => IpNetwork.contains(network, address))
  })
