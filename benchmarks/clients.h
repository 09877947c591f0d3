/*
 * The clients of one run: subscribers, numbered from 0, and after them the publishers.
 *
 * Every message carries its publisher, its number and the time it was sent. The receiving side counts what is
 * doubled or out of order and keeps a histogram of latencies; both halves of QoS 1 and 2 are done in full, and an
 * acknowledgement that nobody waits for counts as a protocol error.
 */
#ifndef CLIENTS_H
#define CLIENTS_H

#include "link.h"

#define SECOND 1000000000u /* ns */

enum { PACKET_IDS = 4096 }; /* ids a publisher uses in turn, so the bound of its window */

/* What all clients of a run have in common. */
struct traffic {
    struct broker broker;
    int publishers, subscribers;
    int qos;     /* to publish and to subscribe with */
    int window;  /* QoS 1 and 2: unacknowledged messages per publisher */
    int backlog; /* messages per publisher that did not reach all their subscribers yet */
    int payload; /* bytes, at least those of a stamp */
    int spread;  /* topics that each publisher uses in turn; from 2 on they are subscribed to by a wildcard */
    bool persistent; /* the broker keeps the sessions of subscribers */
};
extern struct traffic traffic;

/* What came of it. */
struct counts {
    int ready, failed, dropped; /* clients: set up, never set up, lost after they were ready */
    uint64_t received;          /* copies of messages, duplicates not counted */
    uint64_t acknowledged;      /* messages of QoS 1 and 2 that the broker has taken over */
    uint64_t duplicates;        /* of QoS 1 also those that a broker may send */
    uint64_t misordered;        /* came after a later one of the same publisher */
    uint64_t refused;           /* answered with a reason code from 0x80 on (MQTT 5) */
    uint64_t protocol_errors;   /* packets that do not belong where they came */
};
extern struct counts counts;

extern uint64_t turn_ns;     /* the time of the present turn; clock: CLOCK_MONOTONIC */
extern uint64_t progress_ns; /* of the last turn in which a message or an acknowledgement came */

/*
 * Make the clients that `traffic` describes. Publisher i publishes to topic i modulo the smaller of the numbers of
 * publishers and subscribers (with a spread: to several below it), and so for subscribers; without publishers each
 * subscriber has a topic of its own.
 */
void make_clients(void);

/* Connect and subscribe them all, some at a time. Ends the program if the broker stops answering. */
void open_clients(void);

/*
 * Have all subscribers disconnect, and, later, connect again without subscribing. In between messages wait for them,
 * and only its window keeps a publisher back.
 */
void subscribers_leave(void);
void subscribers_return(void);

/* Serve every socket that has something, after waiting up to `timeout_ms` for the first. */
void turn(int timeout_ms);

/* Tick so many times per second from now on; a tick ends the waiting of `turn`. */
void start_ticking(double rate);

/* How many ticks came since the last call. */
uint64_t take_ticks(void);

/* One message of publisher `i`, whatever is under way. */
void publish_one(int i);

/* As many messages of each publisher as window and backlog allow. */
void publish_what_fits(void);

/* Copies of messages that did not arrive, and whether an acknowledgement is missing. */
uint64_t undelivered_copies(void);
bool unacknowledged(void);

/* The latency that this part of all copies did not exceed, within 3 %. */
double latency_ms(double quantile);

uint64_t now_ns(void);

#endif
