/* Frames around MQTT packets; what the functions promise stands in websocket.h. */
#define _GNU_SOURCE
#include "websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum opcode { CONTINUATION, TEXT, BINARY, CLOSE = 8 };
enum { FINAL = 0x80, MASKED = 0x80, OPCODE = 0x0f };

/* The example of RFC 6455 §1.3: with a key that is always the same, so is what the server must answer. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPTED "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* ---- the handshake ---- */

void append_request(struct bytes *out, const char *host)
{
    char *request;
    int len = asprintf(&request,
                       "GET /mqtt HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
                       host);
    if (len < 0)
        abort();
    append(out, request, len);
    free(request);
}

static bool agrees(const char *head)
{
    return !strncmp(head, "HTTP/1.1 101 ", 13) && strstr(head, ACCEPTED)
        && strcasestr(head, "\r\nSec-WebSocket-Protocol: mqtt\r\n");
}

/* Collect the head of the answer; what came behind it is moved to the start of `data`, and is the new length. */
static size_t take_head(struct websocket *websocket, uint8_t *data, size_t len)
{
    struct bytes *head = &websocket->head;
    append(head, data, len);
    char *end = memmem(head->at, head->len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t behind = head->len - (end + 4 - (char *)head->at);
    memcpy(data, end + 4, behind);
    end[2] = 0; /* a text from here on, of whole lines */
    websocket->open = agrees((char *)head->at);
    free(head->at);
    *head = (struct bytes){0};
    return websocket->open ? behind : MALFORMED;
}

/* ---- writing ---- */

/* Cheap, never 0 (which would mask nothing), and never the same twice in a row. */
static uint32_t next_key(struct websocket *websocket)
{
    websocket->key = websocket->key * 1664525 + 1013904223;
    return websocket->key | 1;
}

static void append_header(struct bytes *out, size_t len, uint32_t key)
{
    uint8_t header[10] = {FINAL | BINARY, MASKED | 127};
    size_t header_bytes = len < 126 ? 2 : len < 65536 ? 4 : 10;
    if (len < 65536)
        header[1] = MASKED | (len < 126 ? len : 126);
    for (size_t i = header_bytes; i > 2; i--, len >>= 8)
        header[i - 1] = len & 0xff;
    append(out, header, header_bytes);
    append(out, &key, sizeof key);
}

/* Eight bytes at a time; byte order does not matter, for the key went out as it lies in memory. */
static void mask(uint8_t *data, size_t len, uint32_t key)
{
    uint64_t twice = (uint64_t)key << 32 | key, word;
    for (; len >= sizeof word; data += sizeof word, len -= sizeof word) {
        memcpy(&word, data, sizeof word);
        word ^= twice;
        memcpy(data, &word, sizeof word);
    }
    for (size_t i = 0; i < len; i++)
        data[i] ^= ((uint8_t *)&twice)[i];
}

void append_frames(struct bytes *out, struct websocket *websocket, const struct bytes *packets, int per_frame)
{
    for (size_t at = 0, len; at < packets->len; at += len) {
        len = 0;
        for (int i = 0; i < per_frame && at + len < packets->len; i++)
            len += packet_bytes(packets->at + at + len, packets->len - at - len);
        uint32_t key = next_key(websocket);
        append_header(out, len, key);
        append(out, packets->at + at, len);
        mask(out->at + out->len - len, len, key);
    }
}

/* ---- reading ---- */

static size_t header_length(uint8_t second)
{
    return second == 126 ? 4 : second == 127 ? 10 : 2;
}

/* Whether what begins with these two bytes is a frame that MQTT has a use for. */
static bool is_expected(const uint8_t *header)
{
    uint8_t opcode = header[0] & ~FINAL;
    return !(header[1] & MASKED) && (opcode == CONTINUATION || opcode == BINARY || opcode == CLOSE);
}

static uint64_t payload_length(const uint8_t *header)
{
    if (header[1] < 126)
        return header[1];
    uint64_t len = 0;
    for (size_t i = 2; i < header_length(header[1]); i++)
        len = len << 8 | header[i];
    return len;
}

/* Take one more byte of a header. */
static bool take_header_byte(struct websocket *websocket, uint8_t byte)
{
    uint8_t *header = websocket->header;
    header[websocket->header_bytes++] = byte;
    if (websocket->header_bytes < 2)
        return true;
    if (!is_expected(header))
        return false;
    if (websocket->header_bytes == header_length(header[1])) {
        websocket->left = payload_length(header);
        websocket->closed = (header[0] & OPCODE) == CLOSE;
        websocket->header_bytes = 0;
    }
    return true;
}

size_t strip_frames(struct websocket *websocket, uint8_t *data, size_t len)
{
    if (!websocket->open && (len = take_head(websocket, data, len)) == MALFORMED)
        return MALFORMED;
    size_t at = 0, kept = 0;
    while (at < len && !websocket->closed) {
        if (!websocket->left) {
            if (!take_header_byte(websocket, data[at++]))
                return MALFORMED;
            continue;
        }
        size_t here = websocket->left < len - at ? websocket->left : len - at;
        memmove(data + kept, data + at, here);
        kept += here;
        at += here;
        websocket->left -= here;
    }
    return kept;
}
