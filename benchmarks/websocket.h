/*
 * The client's side of MQTT over WebSocket (RFC 6455; v5 §6).
 *
 * Bytes in, bytes out, as in wire.h. What the server sends is stripped of its frames, whatever they hold: many packets,
 * one, or a part. Extensions are not offered, and pings not answered: nobody sends any who is not asked to.
 */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include "wire.h"

struct websocket {
    bool open, closed;  /* the server has agreed; it has sent a close frame */
    struct bytes head;  /* of its answer, until that is whole */
    uint8_t header[10]; /* of its frame, until that is whole */
    unsigned header_bytes;
    uint64_t left;      /* payload of its frame that is still to come */
    uint32_t key;       /* that masked our last frame; the next has another */
};

/* The request for an upgrade: all that may be sent until `open`. */
void append_request(struct bytes *out, const char *host);

/* Put `packets` (whole ones) into masked binary frames, so many to each. */
void append_frames(struct bytes *out, struct websocket *websocket, const struct bytes *packets, int per_frame);

/*
 * Take the server's answer and frames away from what arrived, in place.
 * Returns how many bytes of MQTT are left of it, or MALFORMED: also if the server does not agree to the upgrade.
 */
size_t strip_frames(struct websocket *websocket, uint8_t *data, size_t len);

#endif
