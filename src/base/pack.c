/* A number is seven bits in each byte, the lowest first, and the eighth where more follow; a text its length and one (0:
 * NULL), its bytes and a NUL.
 * SPDX-License-Identifier: MIT */
#include "base/pack.h"

#include <string.h>

void np_pack_number(struct np_buf *buf, uint64_t number)
{
    char bytes[(64 + 6) / 7];
    size_t n = 0;
    for (; number > 0x7f; number >>= 7)
        bytes[n++] = (char)(number | 0x80);
    bytes[n++] = (char)number;
    np_buf_add(buf, bytes, n);
}

void np_pack_bytes(struct np_buf *buf, struct np_text text)
{
    np_pack_number(buf, (uint64_t)text.len + 1);
    np_buf_add(buf, text.ptr, text.len);
    np_buf_add(buf, "", 1);
}

void np_pack_text(struct np_buf *buf, const char *text)
{
    if (text)
        np_pack_bytes(buf, np_text_of(text));
    else
        np_pack_number(buf, 0);
}

struct np_unpack np_unpack_begin(struct np_text bytes)
{
    return (struct np_unpack){.at = bytes.ptr, .end = bytes.ptr + bytes.len};
}

static const char *take(struct np_unpack *unpack, uint64_t n)
{
    const char *at = unpack->at;
    unpack->broken = unpack->broken || n > (uint64_t)(unpack->end - at);
    if (unpack->broken)
        return NULL;
    unpack->at += n;
    return at;
}

/* Thousands of them are read in each request. */
uint64_t np_unpack_number(struct np_unpack *unpack, uint64_t max)
{
    uint64_t number = 0;
    const char *at = unpack->at;
    bool more = true;
    for (unsigned shift = 0; more && shift < 64 && at < unpack->end; shift += 7) {
        const uint64_t byte = (unsigned char)*at++, bits = byte & 0x7f;
        if (bits > UINT64_MAX >> shift)
            break;
        number |= bits << shift;
        more = byte & 0x80;
    }
    unpack->broken = unpack->broken || more || number > max;
    unpack->at = unpack->broken ? unpack->at : at;
    return unpack->broken ? 0 : number;
}

struct np_text np_unpack_bytes(struct np_unpack *unpack)
{
    const uint64_t n = np_unpack_number(unpack, SIZE_MAX);
    const char *bytes = n ? take(unpack, n) : NULL;
    if (bytes && bytes[n - 1]) {
        unpack->broken = true;
        bytes = NULL;
    }
    return bytes ? (struct np_text){bytes, (size_t)n - 1} : (struct np_text){0};
}

const char *np_unpack_text(struct np_unpack *unpack)
{
    const struct np_text text = np_unpack_bytes(unpack);
    if (text.ptr && strlen(text.ptr) != text.len) {
        unpack->broken = true;
        return NULL;
    }
    return text.ptr;
}

bool np_unpack_is_done(const struct np_unpack *unpack)
{
    return !unpack->broken && unpack->at == unpack->end;
}

uint64_t np_sum(struct np_text bytes)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15); /* of the golden ratio: near numbers end far apart */
    uint64_t sum = bytes.len, word;
    for (; bytes.len >= sizeof word; bytes.ptr += sizeof word, bytes.len -= sizeof word) {
        memcpy(&word, bytes.ptr, sizeof word);
        sum = (sum ^ word) * odd;
        sum ^= sum >> 32;
    }
    for (word = 0; bytes.len > 0; bytes.len--)
        word = word << 8 | (unsigned char)bytes.ptr[bytes.len - 1];
    sum = (sum ^ word) * odd;
    return sum ^ sum >> 32;
}

void np_pack_sum(struct np_buf *buf)
{
    const uint64_t sum = np_sum((struct np_text){buf->ptr, buf->len});
    char bytes[sizeof sum];
    memcpy(bytes, &sum, sizeof sum);
    np_buf_add(buf, bytes, sizeof bytes);
}

bool np_unpack_sum(struct np_text *bytes)
{
    uint64_t sum;
    if (bytes->len < sizeof sum)
        return false;
    bytes->len -= sizeof sum;
    memcpy(&sum, bytes->ptr + bytes->len, sizeof sum);
    return sum == np_sum(*bytes);
}
