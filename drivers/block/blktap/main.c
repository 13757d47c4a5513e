// SPDX-License-Identifier: GPL-2.0-only
/* blktap: disk images as block devices, with the formats in userspace. */
#include <linux/module.h>

#include "blktap.h"

/* In the order of their dependence; until there is a pool there are no taps. */
static const struct {
	int (*init)(void);
	void (*exit)(void);
} parts[] = {
	{ tap_fault_init,	tap_fault_exit },
	{ blktap_op_init,	blktap_op_exit },
	{ blktap_disk_init,	blktap_disk_exit },
	{ blktap_chardev_init,	blktap_chardev_exit },
	{ blktap_class_init,	blktap_class_exit },
	{ blktap_netlink_init,	blktap_netlink_exit },
	{ blktap_control_init,	blktap_control_exit },
	{ tap_maps_init,	tap_maps_exit },
	{ blktap_pool_init,	blktap_pool_exit },
};

static void exit_parts(unsigned int nr)
{
	while (nr--)
		parts[nr].exit();
}

static int __init blktap_init_module(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		err = parts[i].init();
		if (err) {
			exit_parts(i);
			return err;
		}
	}
	return 0;
}

static void __exit blktap_exit_module(void)
{
	exit_parts(ARRAY_SIZE(parts));
}

module_init(blktap_init_module);
module_exit(blktap_exit_module);

MODULE_DESCRIPTION("Disk images as block devices");
MODULE_LICENSE("GPL");
