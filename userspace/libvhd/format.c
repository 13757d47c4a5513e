// SPDX-License-Identifier: GPL-2.0-only
/* The arithmetic of the format, and its conversion from and to disk. */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include "internal.h"

/* What a BAT entry can hold: a bitmap's offset in sectors. */
#define BAT_ENTRY_END	((uint64_t)VHD_BAT_UNUSED * VHD_SECTOR)

uint32_t vhd_checksum(const uint8_t *disk, size_t len, size_t skip)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < skip || i >= skip + sizeof(uint32_t))
			sum += disk[i];
	return ~sum;
}

/* All fields of a footer that are numbers; its own inverse. */
static void footer_swap(struct vhd_footer *f)
{
	f->features = be32toh(f->features);
	f->version = be32toh(f->version);
	f->data_offset = be64toh(f->data_offset);
	f->timestamp = be32toh(f->timestamp);
	f->creator_version = be32toh(f->creator_version);
	f->creator_os = be32toh(f->creator_os);
	f->original_size = be64toh(f->original_size);
	f->current_size = be64toh(f->current_size);
	f->geometry = be32toh(f->geometry);
	f->type = be32toh(f->type);
	f->checksum = be32toh(f->checksum);
}

void vhd_footer_decode(struct vhd_footer *footer, const uint8_t disk[VHD_SECTOR])
{
	memcpy(footer, disk, sizeof(*footer));
	footer_swap(footer);
}

void vhd_footer_encode(const struct vhd_footer *footer, uint8_t disk[VHD_SECTOR])
{
	struct vhd_footer f = *footer;

	footer_swap(&f);
	f.checksum = htobe32(vhd_checksum((uint8_t *)&f, sizeof(f),
					  offsetof(struct vhd_footer, checksum)));
	memcpy(disk, &f, sizeof(f));
}

/* All fields of a header that are numbers; its own inverse. */
static void header_swap(struct vhd_header *h)
{
	h->data_offset = be64toh(h->data_offset);
	h->table_offset = be64toh(h->table_offset);
	h->version = be32toh(h->version);
	h->max_bat_size = be32toh(h->max_bat_size);
	h->block_size = be32toh(h->block_size);
	h->checksum = be32toh(h->checksum);
	h->parent_timestamp = be32toh(h->parent_timestamp);
	h->reserved1 = be32toh(h->reserved1);
	for (int i = 0; i < VHD_LOCATORS; i++) {
		struct vhd_locator *l = &h->locator[i];

		l->code = be32toh(l->code);
		l->data_space = be32toh(l->data_space);
		l->data_length = be32toh(l->data_length);
		l->reserved = be32toh(l->reserved);
		l->data_offset = be64toh(l->data_offset);
	}
}

void vhd_header_decode(struct vhd_header *header, const uint8_t disk[2 * VHD_SECTOR])
{
	memcpy(header, disk, sizeof(*header));
	header_swap(header);
}

void vhd_header_encode(const struct vhd_header *header, uint8_t disk[2 * VHD_SECTOR])
{
	struct vhd_header h = *header;

	header_swap(&h);
	h.checksum = htobe32(vhd_checksum((uint8_t *)&h, sizeof(h),
					  offsetof(struct vhd_header, checksum)));
	memcpy(disk, &h, sizeof(h));
}

uint32_t vhd_bitmap_bytes(uint32_t block_size)
{
	return vhd_round_up(block_size / VHD_SECTOR / 8, VHD_SECTOR);
}

uint64_t vhd_bat_bytes(uint32_t entries)
{
	return vhd_round_up((uint64_t)entries * sizeof(uint32_t), VHD_SECTOR);
}

uint64_t vhd_bat_sector_offset(const struct vhd *v, uint32_t blk)
{
	return v->header.table_offset +
	       vhd_round_down((uint64_t)blk * sizeof(uint32_t), VHD_SECTOR);
}

void vhd_bat_sector_encode(const struct vhd *v, uint32_t blk,
			   uint8_t sector[VHD_SECTOR])
{
	const uint32_t per_sector = VHD_SECTOR / sizeof(uint32_t);
	const uint32_t *entry = v->bat + vhd_round_down(blk, per_sector);

	for (uint32_t i = 0; i < per_sector; i++) {
		uint32_t disk = htobe32(entry[i]);

		memcpy(sector + i * sizeof(disk), &disk, sizeof(disk));
	}
}

int vhd_place_block(const struct vhd *v, uint64_t from, uint64_t *offset)
{
	uint64_t data = vhd_round_up(from + v->bitmap_bytes, VHD_ALIGN);
	uint64_t bitmap = data - v->bitmap_bytes;

	if (bitmap >= BAT_ENTRY_END)
		return -EFBIG;
	if (v->block_device && data + v->block_size > v->footer_offset)
		return -ENOSPC;
	*offset = bitmap;
	return 0;
}

void vhd_bitmap_set(uint8_t *bitmap, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	while (first < end) {
		if (first % 8 == 0 && end - first >= 8) {
			uint32_t bytes = (end - first) / 8;

			memset(bitmap + first / 8, 0xff, bytes);
			first += bytes * 8;
		} else {
			bitmap[first / 8] |= 0x80 >> first % 8;
			first++;
		}
	}
}

void vhd_bitmap_clear(uint8_t *bitmap, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		bitmap[i / 8] &= ~(0x80 >> i % 8);
}

bool vhd_bitmap_full(const uint8_t *bitmap, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	while (first < end) {
		if (first % 8 == 0 && end - first >= 8) {
			if (bitmap[first / 8] != 0xff)
				return false;
			first += 8;
		} else {
			if (!vhd_bitmap_test(bitmap, first))
				return false;
			first++;
		}
	}
	return true;
}

uint32_t vhd_bitmap_run(const uint8_t *bitmap, uint32_t first, uint32_t max)
{
	bool set = vhd_bitmap_test(bitmap, first);
	uint8_t alike = set ? 0xff : 0;
	uint32_t n = 1;

	while (n < max) {
		if ((first + n) % 8 == 0 && max - n >= 8 && bitmap[(first + n) / 8] == alike)
			n += 8;
		else if (vhd_bitmap_test(bitmap, first + n) == set)
			n++;
		else
			break;
	}
	return n;
}

/* VHD 1.0 specification, appendix "CHS Calculation". */
uint32_t vhd_geometry(uint64_t sectors)
{
	const uint64_t max = 65535ULL * 16 * 255;
	uint32_t total = sectors < max ? sectors : max;
	uint32_t heads, per_track, cylinders_x_heads;

	if (total >= 65535 * 16 * 63) {
		per_track = 255;
		heads = 16;
		cylinders_x_heads = total / per_track;
	} else {
		per_track = 17;
		cylinders_x_heads = total / per_track;
		heads = (cylinders_x_heads + 1023) / 1024;
		if (heads < 4)
			heads = 4;
		if (cylinders_x_heads >= heads * 1024 || heads > 16) {
			per_track = 31;
			heads = 16;
			cylinders_x_heads = total / per_track;
		}
		if (cylinders_x_heads >= heads * 1024) {
			per_track = 63;
			heads = 16;
			cylinders_x_heads = total / per_track;
		}
	}
	return cylinders_x_heads / heads << 16 | heads << 8 | per_track;
}

uint32_t vhd_time(time_t unix_time)
{
	if (unix_time < VHD_EPOCH)
		return 0;
	if (unix_time - VHD_EPOCH > UINT32_MAX)
		return UINT32_MAX;
	return unix_time - VHD_EPOCH;
}
