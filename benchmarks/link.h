/*
 * A client's connection to the broker, never blocking: TCP, or TLS where the program was built with -DTLS, and over
 * either of them WebSocket.
 *
 * A link collects what is to be sent in `out`, sends it when flushed, and cuts what arrives into packets.
 * What the packets mean is the business of clients.c.
 */
#ifndef LINK_H
#define LINK_H

#include "websocket.h"

/* Where the broker is and how to talk to it: the same for every link of a run. */
struct broker {
    const char *address; /* IPv4; one in 127.0.0.0/8 is reached from many source addresses */
    int port;
    int version;                       /* 4 is MQTT 3.1.1, 5 is MQTT 5 */
    const char *ca, *certificate, *key; /* PEM files; `ca` NULL means no TLS */
    bool websocket;
    int per_frame; /* packets in each frame of a WebSocket */
};

struct link {
    int fd; /* -1 once closed */
    bool awaits_room; /* epoll is asked to tell when the kernel takes more */
    struct bytes out, partial;
    void *tls; /* SSL *, or NULL */
    struct websocket *websocket; /* NULL: there is none */
    struct bytes framed; /* what its frames hold, and its request */
    int per_frame;
};

typedef void packet_receiver(struct link *link, const struct packet *packet);

/* Take all the open files the system grants, and read the certificates. Ends the program if that fails. */
void links_prepare(const struct broker *broker);

/* Start to connect, and have `epoll_fd` report events with `link` as their data. */
bool link_open(struct link *link, const struct broker *broker, int epoll_fd, int number);

/* Send what the kernel takes. False: the connection is gone; then `link_close` is all that may follow. */
bool link_flush(struct link *link, int epoll_fd);

/* Whether the kernel has taken all that was to be sent. */
bool link_is_clear(const struct link *link);

/* Hand each whole packet that arrived to `receiver`, which may append to `out`. False: as above. */
bool link_receive(struct link *link, int version, packet_receiver *receiver);

void link_close(struct link *link);

/* Say why on standard error and end the program with status 1. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
