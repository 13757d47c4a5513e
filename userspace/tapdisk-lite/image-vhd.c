// SPDX-License-Identifier: GPL-2.0-only
/* VHD images: fixed, dynamic, and differencing with all that is beneath. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhd-image.h"

static int layer_init(struct vhd_image *image, unsigned int i, struct vhd *vhd)
{
	struct vhd_layer *layer = &image->layers[i];
	struct image_layer *stats = &image->image.layers[i];

	layer->vhd = vhd;
	layer->stats = stats;
	layer->sectors = vhd->size >> SECTOR_SHIFT;
	stats->name = vhd->path;
	stats->fd = vhd->fd;
	stats->driver = vhd->type == VHD_TYPE_RAW ? &image_driver_aio : &image_driver_vhd;
	if (vhd_is_flat(vhd))
		return 0;

	layer->bitmap_of = malloc(sizeof(*layer->bitmap_of) * vhd->bat_entries);
	if (!layer->bitmap_of)
		return -ENOMEM;
	memset(layer->bitmap_of, 0xff, sizeof(*layer->bitmap_of) * vhd->bat_entries);
	return 0;
}

static int layers_init(struct vhd_image *image)
{
	unsigned int n = 0;
	struct vhd *vhd;

	for (vhd = image->chain; vhd; vhd = vhd->parent)
		n++;
	image->layers = calloc(n, sizeof(*image->layers));
	image->image.layers = calloc(n, sizeof(*image->image.layers));
	if (!image->layers || !image->image.layers)
		return -ENOMEM;

	image->image.nr_layers = n;
	n = 0;
	for (vhd = image->chain; vhd; vhd = vhd->parent) {
		int err = layer_init(image, n++, vhd);

		if (err)
			return err;
	}
	return 0;
}

/* New blocks' data is aligned; what other programs made may not be. */
static uint32_t physical_size(const struct vhd *vhd)
{
	if (vhd_is_flat(vhd))
		return VHD_ALIGN;
	for (uint32_t block = 0; block < vhd->bat_entries; block++)
		if (vhd_block_allocated(vhd, block) && vhd_data_offset(vhd, block) % VHD_ALIGN)
			return VHD_SECTOR;
	return VHD_ALIGN;
}

/* Where data ends before its block, reading it takes more than an extent says. */
static bool grantable(const struct vhd *vhd)
{
	for (; vhd; vhd = vhd->parent)
		if (vhd->end_footer_lost)
			return false;
	return true;
}

static void image_free(struct vhd_image *image)
{
	vhd_release_exit(image);
	vhd_alloc_exit(image);
	vhd_cache_exit(image);
	for (unsigned int i = 0; i < image->image.nr_layers; i++)
		free(image->layers[i].bitmap_of);
	free(image->layers);
	free(image->image.layers);
	vhd_close(image->chain);
	free(image);
}

static int image_prepare(struct vhd_image *image, struct vhd_error *error)
{
	int err = layers_init(image);

	vhd_flush_init(image);
	if (!err)
		err = vhd_cache_init(image);
	if (!err)
		err = vhd_alloc_init(image);
	if (err)
		return deny(error, -err, "%s: out of memory", image->chain->path);
	return vhd_release_init(image, error);
}

/* Of a dynamic disk there are always blocks to be released. */
static bool trims(struct vhd_image *image)
{
	if (image->image.rdonly || vhd_is_flat(image->chain))
		return false;
	image->no_punch = !image_file_trims(image->chain->fd);
	return image->chain->type == VHD_TYPE_DYNAMIC || !image->no_punch;
}

static int image_vhd_open(struct image **out, struct aio *aio, const char *path,
			  unsigned int flags, struct vhd_error *error)
{
	bool rdonly = flags & IMAGE_RDONLY;
	struct vhd_image *image = calloc(1, sizeof(*image));
	int err;

	if (!image)
		return deny(error, ENOMEM, "%s: out of memory", path);
	image->image.keep_fd = -1;
	err = vhd_open_chain(&image->chain, path, VHD_OPEN_DIRECT | image_vhd_flags(flags), error);
	if (err) {
		free(image);
		return err;
	}

	image->image.aio = aio;
	image->image.rdonly = rdonly;
	image->image.capacity = image->chain->size >> SECTOR_SHIFT;
	image->image.sector_size = SECTOR_SIZE;
	image->image.physical_size = physical_size(image->chain);
	if (!vhd_is_flat(image->chain))
		image->image.block_size = image->chain->block_size;
	image->image.layout = grantable(image->chain);
	image->image.trim = trims(image);
	err = image_prepare(image, error);
	if (err) {
		image_free(image);
		return err;
	}
	*out = &image->image;
	return 0;
}

static void image_vhd_close(struct image *image)
{
	image_free(container_of(image, struct vhd_image, image));
}

static void image_vhd_read(struct image *image, struct image_request *req)
{
	vhd_request_read(container_of(image, struct vhd_image, image), req);
}

static void image_vhd_write(struct image *image, struct image_request *req)
{
	vhd_request_write(container_of(image, struct vhd_image, image), req);
}

static void image_vhd_flush(struct image *image, struct image_request *req)
{
	if (image->rdonly)
		req->done(req, 0);
	else
		vhd_flush_request(container_of(image, struct vhd_image, image), req);
}

static void image_vhd_trim(struct image *image, struct image_request *req)
{
	vhd_request_trim(container_of(image, struct vhd_image, image), req);
}

static void image_vhd_layout_get(struct image *image, struct image_request *req)
{
	vhd_layout_get(container_of(image, struct vhd_image, image), req);
}

static void image_vhd_layout_commit(struct image *image, struct image_request *req)
{
	vhd_layout_commit(container_of(image, struct vhd_image, image), req);
}

const struct image_driver image_driver_vhd = {
	.name = "vhd",
	.type = 4,
	.open = image_vhd_open,
	.close = image_vhd_close,
	.restore = vhd_keep_restore,
	.read = image_vhd_read,
	.write = image_vhd_write,
	.flush = image_vhd_flush,
	.trim = image_vhd_trim,
	.layout_get = image_vhd_layout_get,
	.layout_commit = image_vhd_layout_commit,
};
