//! The list of all metrics. Its doc comments are the help texts that Prometheus shows.

use crate::telemetry::families::families;

families! {
    /// Version of the program and name of the node; always 1.
    BUILD_INFO: Gauge = "ilagate_build_info";
    /// When the node started, in seconds since 1970.
    START_TIME: Gauge = "ilagate_start_time_seconds";
    /// Lines of the log that were lost, because nobody read standard error in time or it could not be written.
    LOG_LOST: Counter = "ilagate_log_lines_lost_total";
    /// Time since the control thread turned last; more than a second is a control thread that hangs.
    CONTROL_SILENCE: Gauge = "ilagate_control_silence_seconds";

    /// Packets received, by worker and port.
    RECEIVED: Counter = "ilagate_received_packets_total";
    /// Bytes received, link header included, by worker and port.
    RECEIVED_BYTES: Counter = "ilagate_received_bytes_total";
    /// Fates of the packets received, by worker and port they came in at: forwarded, replied, punted or dropped.
    PACKETS: Counter = "ilagate_packets_total";
    /// Packets that wait now, for a neighbour or for a VM or task that is about to arrive, by worker and port they came in at.
    WAITING: Gauge = "ilagate_waiting_packets";
    /// Packets dropped without an ICMPv6 error to the sender, by port they came in at and reason (ilactl drops explains each).
    DROPPED: Counter = "ilagate_dropped_packets_total";
    /// Packets lost whose sender was sent an ICMPv6 error, by port they came in at and reason.
    ICMP_ERRORS: Counter = "ilagate_icmp_errors_total";
    /// Frames sent beyond one for each packet, by worker and port the packets came in at:
    /// copies for the members of a group, and fragments after the first.
    COPIED: Counter = "ilagate_copied_packets_total";
    /// Such frames lost, by port the packets came in at and reason (ilactl drops explains each).
    COPIES_LOST: Counter = "ilagate_lost_copies_total";
    /// Packets for VMs and tasks that move, by worker and port they came in at, and by what was done with them:
    /// tunnelled, retranslated, held or decapsulated.
    MOVES_PACKETS: Counter = "ilagate_moves_packets_total";
    /// Frames whose checksum their sender left to its device, by port they came in at, of those looked at:
    /// one of every few bursts. Switch off ethtool's tx at the other end.
    UNFINISHED: Counter = "ilagate_unfinished_checksums_total";
    /// Packets sent, by worker and port.
    SENT: Counter = "ilagate_sent_packets_total";
    /// Bytes sent, link header included, by worker and port.
    SENT_BYTES: Counter = "ilagate_sent_bytes_total";
    /// Packets that the transmit ring refused, by worker and port.
    UNSENT: Counter = "ilagate_unsent_packets_total";
    /// Packets that the control thread originated and that were handed to the transmit ring, by worker and port.
    ORIGINATED: Counter = "ilagate_originated_packets_total";
    /// Packets that the control thread originated and no worker had room for.
    ORIGINATED_LOST: Counter = "ilagate_originated_lost_packets_total";

    /// Packets of tenants attached here, by virtual network and direction: from_tenants or to_tenants.
    VN_PACKETS: Counter = "ilagate_vn_packets_total";
    /// Bytes of tenants attached here, link header included, by virtual network and direction.
    VN_BYTES: Counter = "ilagate_vn_bytes_total";
    /// Packets from and to tenants that were lost, with or without an ICMP error to the sender, by virtual network.
    VN_DROPPED: Counter = "ilagate_vn_dropped_packets_total";
    /// Tenants attached here, by virtual network.
    VN_ATTACHMENTS: Gauge = "ilagate_vn_attachments";
    /// Mappings of tenants' addresses, by virtual network.
    VN_MAPPINGS: Gauge = "ilagate_vn_mappings";

    /// Core that a worker runs on.
    WORKER_CORE: Gauge = "ilagate_worker_core";
    /// Polls of receive queues, by worker and result: packets or empty.
    POLLS: Counter = "ilagate_worker_polls_total";
    /// Times that a worker slept because there was nothing to do.
    SLEEPS: Counter = "ilagate_worker_sleeps_total";
    /// Packets of each burst received, by worker.
    BURST: Summary = "ilagate_burst_packets";
    /// Number of the snapshot of the tables that a worker uses.
    WORKER_SNAPSHOT: Gauge = "ilagate_worker_snapshot";
    /// Packets that a worker freed against their verdict; 0 in a node without a bug.
    MISPLACED: Counter = "ilagate_worker_misplaced_packets_total";

    /// Whether there is a session with the authority (1) or not (0).
    NVA_SESSION: Gauge = "ilagate_nva_session";
    /// Everything up to this revision of the authority's registry is in force in every worker.
    NVA_REVISION: Gauge = "ilagate_nva_applied_revision";
    /// Transactions that the authority told and that are not in force in every worker yet; 0 in cache mode.
    NVA_LAG: Gauge = "ilagate_nva_lag_transactions";
    /// Snapshots that began, because the node had nothing of this history of the registry or was too far behind.
    NVA_SNAPSHOTS: Counter = "ilagate_nva_snapshots_total";
    /// Time from a message of the authority with transactions, or the end of a snapshot, until every worker uses them.
    NVA_APPLY: Histogram = "ilagate_nva_apply_seconds";
    /// Identifiers of this node at the authority, by state: registered or refused.
    NVA_REGISTRATIONS: Gauge = "ilagate_nva_registrations";
    /// Networks, policies and attachments that operators want at this node, by state: in_force or refused.
    NVA_OBJECTS: Gauge = "ilagate_nva_objects";
    /// Mappings of the authority that this node could not take.
    NVA_LEFT_OUT: Counter = "ilagate_nva_left_out_mappings_total";
    /// Digests of the authority that were compared with the mappings in force.
    NVA_DIGESTS: Counter = "ilagate_nva_digests_total";
    /// What differed from the authority although nothing was on its way, and was told anew, by what: mappings (parts of
    /// them, 256 for each SIR domain) or objects (networks, policies and attachments that operators want).
    NVA_DRIFT: Counter = "ilagate_nva_drift_total";
    /// Seconds since there was a session with the authority last, over restarts; 0 while there is one.
    NVA_STALE: Gauge = "ilagate_nva_stale_seconds";
    /// Whether the node is without a session for longer than nva.grace_s.
    NVA_GRACE_OVER: Gauge = "ilagate_nva_grace_over";
    /// Attempts to keep what the authority told in node.state_dir, or to read it, that failed.
    NVA_STATE_FAILURES: Counter = "ilagate_nva_state_failures_total";
    /// Mappings that the node asked the authority for and uses, in cache mode.
    NVA_CACHED: Gauge = "ilagate_nva_cached_mappings";
    /// Identifiers that the node asked the authority for, in cache mode.
    NVA_QUERIED: Counter = "ilagate_nva_queried_identifiers_total";
    /// Answers of the authority that nobody has an identifier.
    NVA_NEGATIVE: Counter = "ilagate_nva_negative_answers_total";
    /// Mappings that the node asked for again before they expired, because packets used them, in cache mode.
    NVA_REFRESHED: Counter = "ilagate_nva_refreshed_mappings_total";
    /// Mappings that the authority told unasked, because packets took the way by an ILA router.
    NVA_REDIRECTED: Counter = "ilagate_nva_redirected_mappings_total";
    /// Senders and destinations of triangular packets that this node told the authority of, as an ILA router.
    NVA_TRIANGULAR: Counter = "ilagate_nva_triangular_reports_total";
    /// MAC addresses that the authority was asked for, because a tenant asked by RARP.
    NVA_SOUGHT_MACS: Counter = "ilagate_nva_sought_macs_total";
    /// Those of them that somebody has.
    NVA_FOUND_MACS: Counter = "ilagate_nva_found_macs_total";
    /// 1 while the list of authorities that are trusted no longer (nva.tls.revoked) cannot be read; no session begins then.
    NVA_UNREAD_REVOCATIONS: Gauge = "ilagate_nva_revocation_list_unreadable";
    /// Requests to the authority for addresses of tenants that asked by RARP, by result: allocated or refused.
    NVA_ADDRESSES: Counter = "ilagate_nva_addresses_total";
    /// Packets to identifiers without a mapping for which the authority was not asked, by reason: suppressed (it was
    /// asked a moment ago) or lost (beyond a limit).
    NVA_UNASKED: Counter = "ilagate_nva_unasked_misses_total";

    /// Mappings held, by SIR domain.
    MAPPINGS: Gauge = "ilagate_mappings";
    /// Mappings that fit without growing, by SIR domain.
    CAPACITY: Gauge = "ilagate_mapping_table_capacity";
    /// Memory of the lookup table, by SIR domain.
    TABLE_BYTES: Gauge = "ilagate_mapping_table_bytes";
    /// Revision of the mappings; rises with every batch of changes.
    REVISION: Gauge = "ilagate_mapping_revision";
    /// Time from the acceptance of a batch of mapping changes until every worker uses it.
    UPDATE: Histogram = "ilagate_update_seconds";
    /// Batches of mapping changes, mapping files and reloads, by result: applied, refused, or withheld (a mapping file
    /// that waits for a confirmation, because it deletes much).
    UPDATES: Counter = "ilagate_updates_total";
    /// Mappings that the mapping file would delete and that wait for a confirmation; 0 if nothing waits.
    WITHHELD: Gauge = "ilagate_mapping_deletions_withheld";
    /// Entries of the mapping file that came, changed or went beneath the mapping of an operator, which stays in force.
    SHADOWED: Counter = "ilagate_mapping_entries_shadowed_total";
    /// Batches accepted and not yet in force.
    UPDATES_PENDING: Gauge = "ilagate_updates_pending";
    /// Number of the snapshot of the tables published last.
    SNAPSHOT: Gauge = "ilagate_snapshot";
    /// Snapshots that some worker may still use.
    SNAPSHOTS_WAITING: Gauge = "ilagate_snapshots_waiting";
    /// Snapshots published.
    SNAPSHOTS: Counter = "ilagate_snapshots_published_total";

    /// Events of tenants, by kind (ilactl events lists them).
    EVENTS: Counter = "ilagate_tenant_events_total";
    /// Events of tenants that were not recorded, because a tenant causes too many of them or a queue was full.
    EVENTS_SUPPRESSED: Counter = "ilagate_tenant_events_suppressed_total";
    /// Packets of tenants that were refused as abuse, and ICMP errors beyond a tenant's limit, by kind.
    VIOLATION: Counter = "ilagate_tenant_abuse_total";

    /// Routes.
    ROUTES: Gauge = "ilagate_routes";
    /// Neighbours, by state.
    NEIGHBOURS: Gauge = "ilagate_neighbours";
    /// Groups that tenants joined by IGMP and MLD, each counted once for each tenant.
    GROUP_MEMBERS: Gauge = "ilagate_group_members";
    /// Joins of tenants that were refused, by reason: limit (too many groups) or unmappable (a group without
    /// identifier, or ending in ffff under neutral mapping).
    JOINS_REFUSED: Counter = "ilagate_group_joins_refused_total";
    /// Packet buffers, by state: in_use or free.
    MBUFS: Gauge = "ilagate_mbufs";

    /// What a port is, and how receive side scaling works on it; always 1.
    PORT_INFO: Gauge = "ilagate_port_info";
    /// Whether a port's link is up.
    PORT_UP: Gauge = "ilagate_port_up";
    /// Whether something is wrong with a port, be it up or down (ilactl port list says what).
    PORT_IMPAIRED: Gauge = "ilagate_port_impaired";
    /// Messages in which somebody else had an address of ours, or was about to take it, by port.
    ADDRESS_CONFLICTS: Counter = "ilagate_address_conflicts_total";
    /// Speed of a port's link, 0 when unknown.
    PORT_SPEED: Gauge = "ilagate_port_speed_bytes_per_second";
    /// Packets that the device says it received.
    DEVICE_RECEIVED: Counter = "ilagate_device_received_packets_total";
    /// Bytes that the device says it received.
    DEVICE_RECEIVED_BYTES: Counter = "ilagate_device_received_bytes_total";
    /// Packets that the device says it sent.
    DEVICE_SENT: Counter = "ilagate_device_sent_packets_total";
    /// Bytes that the device says it sent.
    DEVICE_SENT_BYTES: Counter = "ilagate_device_sent_bytes_total";
    /// Packets that the device lost, by cause: missed (no descriptor was free), rx_error, no_mbuf or tx_error.
    DEVICE_LOST: Counter = "ilagate_device_lost_packets_total";
    /// The driver's own counters, by the driver's names.
    DEVICE_XSTAT: Counter = "ilagate_device_xstat_total";
}
