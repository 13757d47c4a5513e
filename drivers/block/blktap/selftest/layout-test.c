// SPDX-License-Identifier: GPL-2.0-only
/*
 * layout.c against a naive model: an array with a word for each sector. Random
 * grants, writes, commits and drops are done to both, and every sector of the
 * one must always say what the other says. Loading the module is the test.
 */
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/sched.h>

/* So that some chunks lie in one extent. */
#define CHUNK_SHIFT	3
#include "../layout.c"

#define SECTORS	256

static unsigned int ops = 1000000;
module_param(ops, uint, 0444);
MODULE_PARM_DESC(ops, "random operations to do");

static unsigned long long seed;
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "of the random numbers; 0: a new one");

#define NOTHING	0xff

/* What one sector is, in each of the maps. */
struct sector {
	u8 state;
	u8 file;
	s64 delta;
};

struct model {
	struct rnd_state rnd;
	struct tap_layout layout;
	struct sector rw[SECTORS];
	struct sector ro[SECTORS];
	u64 seq;
};

static u32 below(struct model *m, u32 n)
{
	return prandom_u32_state(&m->rnd) % n;
}

static void random_range(struct model *m, u64 *first, u64 *last)
{
	*first = below(m, SECTORS);
	*last = min_t(u64, *first + below(m, 40), SECTORS - 1);
}

static bool is_dirty(const struct sector *s)
{
	return s->state == TAP_EXT_DIRTY;
}

static int do_grant(struct model *m)
{
	struct tap_extent ext = {
		.state = below(m, 4),
		.file = below(m, 3),
		.delta = (s64)below(m, 3) * 1000 - 1000,
	};
	u64 seq = m->seq - (below(m, 8) == 0);
	struct sector s;
	u64 i;
	int err;

	random_range(m, &ext.first, &ext.last);
	err = tap_layout_grant(&m->layout, &ext, 1, seq);
	if (seq != m->seq)
		return err == -ESTALE ? 0 : -EINVAL;
	if (err)
		return err;
	s = (struct sector){ ext.state, ext.file, ext.delta };
	for (i = ext.first; i <= ext.last; i++) {
		if (!is_rw(s.state))
			m->ro[i] = s;
		else if (m->rw[i].state == NOTHING)
			m->rw[i] = s;
	}
	return 0;
}

static int do_dirty(struct model *m)
{
	u64 first, last, i;

	struct tap_extent ext = { .file = below(m, 3), .delta = below(m, 3) };

	random_range(m, &first, &last);
	tap_layout_dirty(&m->layout, &ext, first, last);
	for (i = first; i <= last; i++)
		if (m->rw[i].state == NOTHING ||
		    m->rw[i].state == BLKTAP_EXT_INVALID_DATA)
			m->rw[i] = (struct sector){ TAP_EXT_DIRTY, ext.file,
						    ext.delta };
	return 0;
}

/* Commits what is reported as dirty, which must be exactly what is. */
static int do_commit(struct model *m)
{
	static struct blktap_extent ranges[8];
	unsigned int nr, n;
	u64 from = 0, next = 0;

	do {
		nr = tap_layout_dirty_ranges(&m->layout, &from, ranges,
					     ARRAY_SIZE(ranges));
		for (n = 0; n < nr; n++) {
			u64 end = ranges[n].sector + ranges[n].nr_sectors;

			for (; next < ranges[n].sector; next++)
				if (is_dirty(&m->rw[next]))
					return -EINVAL;
			tap_layout_committed(&m->layout, next, end - 1);
			for (; next < end; next++) {
				if (!is_dirty(&m->rw[next]))
					return -EINVAL;
				m->rw[next].state = BLKTAP_EXT_READ_WRITE_DATA;
			}
		}
	} while (nr == ARRAY_SIZE(ranges));
	for (; next < SECTORS; next++)
		if (is_dirty(&m->rw[next]))
			return -EINVAL;
	return tap_layout_is_dirty(&m->layout) ? -EINVAL : 0;
}

static int do_drop(struct model *m)
{
	u64 first, last, i;

	random_range(m, &first, &last);
	if (!below(m, 4)) {
		first = 0;
		last = U64_MAX;
	}
	tap_layout_drop(&m->layout, first, last);
	m->seq++;
	for (i = first; i <= min_t(u64, last, SECTORS - 1); i++) {
		m->ro[i].state = NOTHING;
		if (!is_dirty(&m->rw[i]))
			m->rw[i].state = NOTHING;
	}
	return tap_layout_seq(&m->layout) == m->seq ? 0 : -EINVAL;
}

/* What the model finds: a sector of @rw or @ro, or NULL: a miss. */
static const struct sector *model_find(struct model *m, u64 sector, bool write)
{
	const struct sector *rw = &m->rw[sector], *ro = &m->ro[sector];

	if (rw->state != NOTHING &&
	    (write || rw->state != BLKTAP_EXT_INVALID_DATA))
		return rw;
	return write || ro->state == NOTHING ? NULL : ro;
}

/* The delta of NONE_DATA means nothing, but it is kept. */
static bool same(const struct sector *s, const struct tap_extent *ext)
{
	return s && s->state == ext->state && s->file == ext->file &&
	       s->delta == ext->delta;
}

static int check_sector(struct model *m, u64 sector, bool write)
{
	const struct sector *want = model_find(m, sector, write);
	struct tap_extent ext;
	u64 i;

	if (!tap_layout_find(&m->layout, sector, write, &ext))
		return want ? -EINVAL : 0;
	if (!same(want, &ext) || sector < ext.first || sector > ext.last)
		return -EINVAL;
	for (i = ext.first; i <= min_t(u64, ext.last, SECTORS - 1); i++)
		if (!same(model_find(m, i, write), &ext))
			return -EINVAL;
	return 0;
}

static int check_all(struct model *m)
{
	u64 sector;
	int err = 0;

	for (sector = 0; !err && sector < SECTORS; sector++)
		err = check_sector(m, sector, false) ?:
		      check_sector(m, sector, true);
	return err;
}

static int do_op(struct model *m)
{
	switch (below(m, 32)) {
	case 0:
		return do_commit(m);
	case 1:
		return do_drop(m);
	case 2 ... 11:
		return do_dirty(m);
	default:
		return do_grant(m);
	}
}

static int run(struct model *m)
{
	unsigned int i;
	int err = 0;

	for (i = 0; !err && i < ops; i++) {
		err = do_op(m) ?: check_sector(m, below(m, SECTORS), i & 1);
		if (!err && !(i % 4096))
			err = check_all(m);
		if (err)
			pr_err("layout-test: operation %u went wrong, seed=%llu ops=%u\n",
			       i, seed, i + 1);
		cond_resched();
	}
	return err;
}

/*
 * Trees of many shapes, one of them with 16 leaves at its root: what they free is
 * theirs. The page allocator and slab checkers say if not.
 */
static void destroy_each_size(struct tap_layout *layout)
{
	unsigned int size, i;

	for (size = 1; size <= 300; size++) {
		tap_layout_init(layout);
		for (i = 0; i < size; i++) {
			struct tap_extent ext = {
				.first = i, .last = i, .delta = i * 2,
				.state = BLKTAP_EXT_READ_WRITE_DATA,
			};

			tap_layout_grant(layout, &ext, 1,
					 tap_layout_seq(layout));
		}
		tap_layout_destroy(layout);
		cond_resched();
	}
	rcu_barrier();
}

static int __init layout_test(void)
{
	struct model *m = kzalloc(sizeof(*m), GFP_KERNEL);
	int err;

	if (!m)
		return -ENOMEM;
	destroy_each_size(&m->layout);
	if (!seed)
		seed = get_random_u32();
	prandom_seed_state(&m->rnd, seed);
	memset(m->rw, NOTHING, sizeof(m->rw));
	memset(m->ro, NOTHING, sizeof(m->ro));
	tap_layout_init(&m->layout);
	tap_layout_size(&m->layout, SECTORS);
	m->seq = tap_layout_seq(&m->layout);
	err = run(m);
	if (!err)
		pr_info("layout-test: %u operations, seed=%llu\n", ops, seed);
	tap_layout_destroy(&m->layout);
	kfree(m);
	return err;
}

static void __exit layout_test_end(void)
{
}

module_init(layout_test);
module_exit(layout_test_end);

MODULE_DESCRIPTION("blktap: layout maps against a model");
MODULE_LICENSE("GPL");
