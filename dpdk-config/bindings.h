/*
 * What `build.rs` hands to bindgen: DPDK's headers, and what Rust cannot reach in them. Constants that are
 * function-like macros get a name here, and `rte_errno`, a macro over a thread-local variable, an accessor.
 */
#define _GNU_SOURCE
#include <stdio.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

static const uint64_t ILAGATE_RSS_IPV6 = RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 |
	RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP | RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
static const uint64_t ILAGATE_MBUF_FOREIGN = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
static const uint64_t ILAGATE_TX_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t ILAGATE_TX_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t ILAGATE_TX_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

static inline int ilagate_errno(void)
{
	return rte_errno;
}
