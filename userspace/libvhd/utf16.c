// SPDX-License-Identifier: GPL-2.0-only
/*
 * UTF-16 from and to UTF-8. Not iconv(): its UTF-16 is a plug-in of the C
 * library that an initramfs doesn't have.
 */
#include <errno.h>
#include <stdlib.h>
#include "internal.h"

static uint16_t get_unit(const uint8_t *in, bool big_endian)
{
	return big_endian ? in[0] << 8 | in[1] : in[1] << 8 | in[0];
}

static void put_unit(uint8_t *out, uint16_t unit, bool big_endian)
{
	out[big_endian ? 0 : 1] = unit >> 8;
	out[big_endian ? 1 : 0] = unit & 0xff;
}

static char *put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = c;
	} else if (c < 0x800) {
		*out++ = 0xc0 | c >> 6;
		*out++ = 0x80 | (c & 0x3f);
	} else if (c < 0x10000) {
		*out++ = 0xe0 | c >> 12;
		*out++ = 0x80 | (c >> 6 & 0x3f);
		*out++ = 0x80 | (c & 0x3f);
	} else {
		*out++ = 0xf0 | c >> 18;
		*out++ = 0x80 | (c >> 12 & 0x3f);
		*out++ = 0x80 | (c >> 6 & 0x3f);
		*out++ = 0x80 | (c & 0x3f);
	}
	return out;
}

/*
 * Up to a NUL or to @bytes. Return: a string to be freed, or NULL with errno
 * ENOMEM or EILSEQ.
 */
char *vhd_utf16_decode(const uint8_t *in, size_t bytes, bool big_endian)
{
	char *utf8 = malloc(bytes / 2 * 3 + 1);
	char *out = utf8;

	if (!utf8)
		return NULL;
	for (size_t i = 0; i + 2 <= bytes; i += 2) {
		uint32_t c = get_unit(in + i, big_endian);

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xdc00 && i + 4 <= bytes) {
			uint32_t low = get_unit(in + i + 2, big_endian);

			if (low < 0xdc00 || low > 0xdfff)
				goto illegal;
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i += 2;
		} else if (c >= 0xd800 && c <= 0xdfff) {
			goto illegal;
		}
		out = put_utf8(out, c);
	}
	*out = 0;
	return utf8;

illegal:
	free(utf8);
	errno = EILSEQ;
	return NULL;
}

/* One character of UTF-8; -1 for what isn't one. Moves @in past it. */
static int32_t get_utf8(const char **in)
{
	static const uint32_t smallest[] = { 0, 0x80, 0x800, 0x10000 };
	const uint8_t *s = (const uint8_t *)*in;
	uint32_t c = *s++;
	int more;

	if (c < 0x80)
		more = 0;
	else if (c >= 0xc0 && c < 0xe0)
		more = 1;
	else if (c >= 0xe0 && c < 0xf0)
		more = 2;
	else if (c >= 0xf0 && c < 0xf8)
		more = 3;
	else
		return -1;
	if (more)
		c &= 0x3f >> more;
	for (int i = 0; i < more; i++, s++) {
		if ((*s & 0xc0) != 0x80)
			return -1;
		c = c << 6 | (*s & 0x3f);
	}
	if (c < smallest[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return -1;
	*in = (const char *)s;
	return c;
}

/* Return: bytes written, no NUL; -EILSEQ (@in is not UTF-8), -ENAMETOOLONG. */
ssize_t vhd_utf16_encode(const char *in, bool big_endian, uint8_t *out,
			 size_t max)
{
	size_t n = 0;

	while (*in) {
		int32_t c = get_utf8(&in);

		if (c < 0)
			return -EILSEQ;
		if (n + (c >= 0x10000 ? 4 : 2) > max)
			return -ENAMETOOLONG;
		if (c >= 0x10000) {
			put_unit(out + n, 0xd800 + ((c - 0x10000) >> 10), big_endian);
			n += 2;
			c = 0xdc00 + ((c - 0x10000) & 0x3ff);
		}
		put_unit(out + n, c, big_endian);
		n += 2;
	}
	return n;
}
