/* What the networks of pods need of rtnetlink: links, addresses, routes. One request, one answer. Used by holder.c and
 * pod_net.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "network.h"

#define LOOPBACK_INDEX 1 /* in every namespace */
#define ANSWER_MAX (64 * 1024)
#define ANSWER_MS 20000 /* the kernel answers at once; this only bounds what should never be */

int nl_open(struct nl *n)
{
    struct sockaddr_nl any = {.nl_family = AF_NETLINK};
    *n = (struct nl){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
    if (n->fd < 0 || bind(n->fd, (struct sockaddr *)&any, sizeof(any)) < 0)
        return -errno;
    return 0;
}

void nl_close(struct nl *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

static void begin(struct nl *n, int type, int flags, const void *body, size_t len)
{
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)n->data;
    memset(n->data, 0, sizeof(n->data));
    h->nlmsg_type = (uint16_t)type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    h->nlmsg_seq = ++n->seq;
    memcpy(NLMSG_DATA(h), body, len);
    n->len = NLMSG_HDRLEN + NLMSG_ALIGN(len);
}

/* All requests here are small; what would not fit is left out and then refused by the kernel. */
static struct rtattr *attr(struct nl *n, int type, const void *value, size_t len)
{
    struct rtattr *a = (struct rtattr *)(void *)(n->data + n->len);
    if (n->len + RTA_SPACE(len) > sizeof(n->data))
        return a;
    a->rta_type = (unsigned short)type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    if (len)
        memcpy(RTA_DATA(a), value, len);
    n->len += RTA_SPACE(len);
    return a;
}

static void attr_text(struct nl *n, int type, const char *text)
{
    attr(n, type, text, strlen(text) + 1);
}

static void attr_u32(struct nl *n, int type, uint32_t value)
{
    attr(n, type, &value, sizeof(value));
}

static void attr_ip(struct nl *n, int type, uint32_t ip)
{
    attr_u32(n, type, htonl(ip));
}

static void end(struct nl *n, struct rtattr *nest)
{
    nest->rta_len = (unsigned short)(n->data + n->len - (char *)nest);
}

static int answer(struct nl *n, char *data, size_t size, size_t *len)
{
    struct pollfd p = {.fd = n->fd, .events = POLLIN};
    int ready = poll(&p, 1, ANSWER_MS);
    if (ready <= 0)
        return ready < 0 ? -errno : -ETIMEDOUT;
    ssize_t got = recv(n->fd, data, size, 0);
    if (got < 0)
        return -errno;
    *len = (size_t)got;
    return 0;
}

static int ask(struct nl *n)
{
    char data[4096] __attribute__((aligned(8)));
    ((struct nlmsghdr *)(void *)n->data)->nlmsg_len = (uint32_t)n->len;
    if (send(n->fd, n->data, n->len, 0) < 0)
        return -errno;
    for (;;) {
        size_t len;
        int rc = answer(n, data, sizeof(data), &len);
        if (rc < 0)
            return rc;
        for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)data; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len))
            if (h->nlmsg_seq == n->seq && h->nlmsg_type == NLMSG_ERROR)
                return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
    }
}

/* No link-local IPv6 addresses: nobody shall find ways here that nobody thought of. */
static void without_ipv6(struct nl *n)
{
    uint8_t none = IN6_ADDR_GEN_MODE_NONE;
    struct rtattr *spec = attr(n, IFLA_AF_SPEC, NULL, 0), *inet6 = attr(n, AF_INET6, NULL, 0);
    attr(n, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
    end(n, inet6);
    end(n, spec);
}

static const struct ifinfomsg no_link;

/* Follows from the address, so that one that comes back under it is found by those who knew the old one. */
static void attr_mac(struct nl *n, uint32_t ip)
{
    uint8_t mac[6] = {2, 0x6f, (uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip};
    attr(n, IFLA_ADDRESS, mac, sizeof(mac));
}

/* Without an address of its own a bridge takes that of a port, and another's when this port goes. */
int nl_bridge(struct nl *n, const char *name, uint32_t ip)
{
    begin(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &no_link, sizeof(no_link));
    attr_text(n, IFLA_IFNAME, name);
    attr_mac(n, ip);
    struct rtattr *info = attr(n, IFLA_LINKINFO, NULL, 0);
    attr_text(n, IFLA_INFO_KIND, "bridge");
    end(n, info);
    return ask(n);
}

int nl_pair(struct nl *n, const char *name, int master, const struct nl_end *peer, uint32_t mtu)
{
    begin(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &no_link, sizeof(no_link));
    attr_text(n, IFLA_IFNAME, name);
    if (master)
        attr_u32(n, IFLA_MASTER, (uint32_t)master);
    if (mtu)
        attr_u32(n, IFLA_MTU, mtu);
    struct rtattr *info = attr(n, IFLA_LINKINFO, NULL, 0);
    attr_text(n, IFLA_INFO_KIND, "veth");
    struct rtattr *data = attr(n, IFLA_INFO_DATA, NULL, 0), *other = attr(n, VETH_INFO_PEER, NULL, 0);
    n->len += NLMSG_ALIGN(sizeof(no_link)); /* the other end begins as a message of its own would */
    attr_text(n, IFLA_IFNAME, peer->name);
    attr_mac(n, peer->ip);
    attr_u32(n, IFLA_NET_NS_FD, (uint32_t)peer->ns);
    if (mtu)
        attr_u32(n, IFLA_MTU, mtu);
    end(n, other);
    end(n, data);
    end(n, info);
    return ask(n);
}

int nl_remove(struct nl *n, const char *name)
{
    begin(n, RTM_DELLINK, 0, &no_link, sizeof(no_link));
    attr_text(n, IFLA_IFNAME, name);
    return ask(n);
}

int nl_up(struct nl *n, int index)
{
    struct ifinfomsg m = {.ifi_index = index};
    if (index != LOOPBACK_INDEX) {
        begin(n, RTM_SETLINK, 0, &m, sizeof(m));
        without_ipv6(n);
        ask(n); /* a kernel without IPv6 refuses it, and needs none */
    }
    m.ifi_flags = m.ifi_change = IFF_UP;
    begin(n, RTM_SETLINK, 0, &m, sizeof(m));
    return ask(n);
}

int nl_address(struct nl *n, int index, uint32_t ip, int prefix, uint32_t peer)
{
    struct ifaddrmsg m = {.ifa_family = AF_INET, .ifa_prefixlen = (uint8_t)prefix, .ifa_index = (uint32_t)index};
    begin(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
    attr_ip(n, IFA_LOCAL, ip);
    attr_ip(n, IFA_ADDRESS, peer ? peer : ip);
    return ask(n);
}

int nl_route(struct nl *n, uint32_t to, int prefix, uint32_t gateway, int index)
{
    struct rtmsg m = {.rtm_family = AF_INET, .rtm_dst_len = (uint8_t)prefix, .rtm_table = RT_TABLE_MAIN,
                      .rtm_protocol = RTPROT_STATIC, .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
    begin(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
    if (prefix)
        attr_ip(n, RTA_DST, to);
    attr_ip(n, RTA_GATEWAY, gateway);
    attr_u32(n, RTA_OIF, (uint32_t)index);
    return ask(n);
}

static void take_route(struct nlmsghdr *h, struct nl_route *out)
{
    const struct rtmsg *m = NLMSG_DATA(h);
    size_t len = RTM_PAYLOAD(h);
    *out = (struct nl_route){.prefix = m->rtm_dst_len};
    for (struct rtattr *a = RTM_RTA(m); RTA_OK(a, len); a = RTA_NEXT(a, len))
        if (a->rta_type == RTA_DST && RTA_PAYLOAD(a) == sizeof(uint32_t)) {
            memcpy(&out->to, RTA_DATA(a), sizeof(out->to));
            out->to = ntohl(out->to);
        }
}

int nl_routes(struct nl *n, struct nl_route *out, size_t max)
{
    static char data[ANSWER_MAX] __attribute__((aligned(8)));
    struct rtmsg all = {.rtm_family = AF_INET};
    size_t count = 0;
    begin(n, RTM_GETROUTE, NLM_F_DUMP, &all, sizeof(all));
    ((struct nlmsghdr *)(void *)n->data)->nlmsg_len = (uint32_t)n->len;
    if (send(n->fd, n->data, n->len, 0) < 0)
        return -errno;
    for (;;) {
        size_t len;
        int rc = answer(n, data, sizeof(data), &len);
        if (rc < 0)
            return rc;
        for (struct nlmsghdr *h = (struct nlmsghdr *)(void *)data; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
            if (h->nlmsg_seq != n->seq)
                continue;
            if (h->nlmsg_type == NLMSG_ERROR)
                return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
            if (h->nlmsg_type == NLMSG_DONE)
                return (int)count;
            if (h->nlmsg_type == RTM_NEWROUTE && count < max)
                take_route(h, &out[count++]);
        }
    }
}

/* Told by the kernel: the ways the helpers say that they are ready differ. */
int nl_await_default(struct nl *n, int timeout_ms)
{
    struct nl watch;
    struct sockaddr_nl routes = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_ROUTE};
    struct nl_route all[64];
    int64_t until = clock_mono_us() + timeout_ms * 1000ll;
    char data[8192];
    watch = (struct nl){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
    int rc = watch.fd < 0 || bind(watch.fd, (struct sockaddr *)&routes, sizeof(routes)) < 0 ? -errno : 1;
    while (rc == 1) {
        int count = nl_routes(n, all, 64);
        for (int i = 0; i < count && rc == 1; i++)
            if (all[i].prefix == 0)
                rc = 0;
        if (count < 0)
            rc = count;
        int64_t left = until - clock_mono_us();
        struct pollfd p = {.fd = watch.fd, .events = POLLIN};
        if (rc == 1 && (left <= 0 || poll(&p, 1, (int)(left / 1000) + 1) == 0))
            rc = -ETIMEDOUT;
        if (rc == 1)
            (void)!recv(watch.fd, data, sizeof(data), MSG_DONTWAIT);
    }
    nl_close(&watch);
    return rc;
}
