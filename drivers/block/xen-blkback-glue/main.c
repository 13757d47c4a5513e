// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ties guests' disks (vbds of xen-blkback) to the taps that serve them, and has
 * taps made for those whose params ask for one. Without Xen it does nothing.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>
#include <xen/xen.h>

#include "glue.h"

/*
 * Handles no device: a driver is how a module learns which bus the backends are
 * on.
 */
static const struct xenbus_device_id no_ids[] = {
	{ "" }
};

static struct xenbus_driver bus_finder = {
	.name	= "xen-blkback-glue",
	.ids	= no_ids,
};

static bool is_vbd(struct device *dev)
{
	return !strcmp(to_xenbus_device(dev)->devicetype, "vbd");
}

static int bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct device *dev = data;

	if (!is_vbd(dev))
		return NOTIFY_DONE;
	if (event == BUS_NOTIFY_BOUND_DRIVER)
		glue_bind(to_xenbus_device(dev));
	else if (event == BUS_NOTIFY_UNBOUND_DRIVER)
		glue_unbind(to_xenbus_device(dev));
	return NOTIFY_DONE;
}

static struct notifier_block bus_notifier = {
	.notifier_call	= bus_event,
};

/* Those that were there before us. */
static int adopt(struct device *dev, void *data)
{
	if (!is_vbd(dev))
		return 0;
	device_lock(dev);
	if (dev->driver)
		glue_bind(to_xenbus_device(dev));
	device_unlock(dev);
	return 0;
}

static void store_changed(struct xenbus_watch *watch, const char *path,
			  const char *token)
{
	glue_changed(path);
}

static struct xenbus_watch store_watch = {
	.node		= "backend/vbd",
	.callback	= store_changed,
};

static bool watching;

/* xenstore may come up after us: until then nobody could answer. */
static int store_up(struct notifier_block *nb, unsigned long event, void *data)
{
	if (register_xenbus_watch(&store_watch)) {
		pr_err("can't watch %s: taps made by others won't be tied\n",
		       store_watch.node);
		return NOTIFY_DONE;
	}
	watching = true;
	bus_for_each_dev(bus_finder.driver.bus, NULL, NULL, adopt);
	return NOTIFY_DONE;
}

static struct notifier_block store_notifier = {
	.notifier_call	= store_up,
};

static int __init glue_init(void)
{
	int err;

	if (!xen_domain())
		return 0;
	err = glue_vbds_init();
	if (err)
		return err;
	err = xenbus_register_backend(&bus_finder);
	if (err)
		goto out_vbds;
	err = bus_register_notifier(bus_finder.driver.bus, &bus_notifier);
	if (err)
		goto out_driver;
	err = register_xenstore_notifier(&store_notifier);
	if (err < 0)
		goto out_notifier;
	return 0;

out_notifier:
	bus_unregister_notifier(bus_finder.driver.bus, &bus_notifier);
out_driver:
	xenbus_unregister_driver(&bus_finder);
out_vbds:
	glue_vbds_exit();
	return err;
}

static void __exit glue_exit(void)
{
	if (!xen_domain())
		return;
	unregister_xenstore_notifier(&store_notifier);
	if (watching)
		unregister_xenbus_watch(&store_watch);
	bus_unregister_notifier(bus_finder.driver.bus, &bus_notifier);
	glue_vbds_exit();
	xenbus_unregister_driver(&bus_finder);
}

module_init(glue_init);
module_exit(glue_exit);

MODULE_DESCRIPTION("Ties xen-blkback's disks to taps");
MODULE_LICENSE("GPL");
MODULE_ALIAS("xen-backend:vbd");
