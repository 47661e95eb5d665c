package ccfs

import (
	"context"
	"fmt"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/containercloud/cc/ccfs/tree"
	"github.com/containercloud/cc/fault"
	"github.com/containercloud/cc/object"
	"github.com/containercloud/cc/runtime/image"
	"github.com/containercloud/cc/words"
)

// images is /cc/image.
func (c *Cloud) images() *tree.Dir {
	failures := new(object.Failures) // of jobs nobody waited for
	return &tree.Dir{
		Name: "image", Mode: 0o755,
		Doc: "Images that containers start from. pull, load, import and gc answer at once and show in status; with wait=10m they answer at the end, and are ended when it is not reached by then.",
		Files: []tree.File{
			{Name: "ctl", Kind: tree.Ctl, Mode: 0o660, Doc: "Verbs of the image store. Who may write here decides what a name means for everybody's containers.", Verbs: c.imageVerbs(failures)},
			{
				Name: "index", Kind: tree.Table, Mode: 0o444, Volatile: true, Syntax: "REF DIGEST SIZE CREATED USERS",
				Doc: "One line a name; images without a name show `-`.", Read: c.imageIndex,
			}, {
				Name: "status", Kind: tree.Table, Mode: 0o444, Volatile: true, Syntax: "VERB REF DONE TOTAL PHASE LAYERS-DONE LAYERS [SENTENCE]",
				Doc: "Pulls, loads and imports: those that run and the last that ended. DONE and TOTAL are bytes.", Read: c.imageJobs,
			}, {
				Name: "error", Kind: tree.Table, Mode: 0o444, Volatile: true, Syntax: "TIME CODE sentence; hint: HINT",
				Doc:  "The last failures of jobs that nobody waited for.",
				Read: func(*tree.Request) ([]byte, error) { return tree.FormatFailures(failures.List()), nil },
			},
		},
		Dirs: []*tree.Dir{
			{Name: "ref", Mode: 0o555, Doc: "Names, each a link to its digest.", Entries: imageRefs{c}},
			{Name: "digest", Mode: 0o555, Doc: "Images by digest: config, manifest, layers, size, created, usedby.", Entries: imageDigests{c}},
		},
	}
}

func (c *Cloud) imageVerbs(failures *object.Failures) []tree.Verb {
	verb := func(name, args, doc string, count int, options []string, run func(*tree.Request, words.Message) error) tree.Verb {
		return tree.Verb{
			Name: name, Args: args, Doc: doc,
			Run: func(r *tree.Request, m words.Message) error {
				if err := noMore(m, count, append(options, "wait")...); err != nil {
					return err
				}
				if len(m.Args) < count {
					return fault.New(fault.Invalid, "cannot %s: it takes %s", name, args)
				}
				return run(r, m)
			},
		}
	}
	job := func(name, args, doc string, count int, options []string, work func(context.Context, *tree.Request, words.Message) error) tree.Verb {
		return verb(name, args, doc, count, options, func(r *tree.Request, m words.Message) error {
			return waited(r, &m, func(ctx context.Context) error { return work(ctx, r, m) }, failures.Add)
		})
	}
	return []tree.Verb{
		job("pull", "REF [platform=OS/ARCH] [insecure=on] [wait=DURATION]", "Fetch an image from its registry.", 1, []string{"platform", "insecure"}, c.pull),
		job("load", "PATH [wait=DURATION]", "Read an OCI layout (a tar, or for the host's owner a directory) or a docker archive from this host. The answer: NAME DIGEST, a line each.", 1, nil, c.load),
		job("import", "PATH NAME [wait=DURATION]", "Make an image of a tar of a root file system on this host. The answer: NAME DIGEST.", 2, nil, c.importTar),
		verb("tag", "REF NEW [wait=DURATION]", "Give an image one more name.", 2, nil, func(_ *tree.Request, m words.Message) error {
			return c.Images.Tag(m.Args[0], m.Args[1])
		}),
		verb("rm", "REF [wait=DURATION]", "Take a name away, and with the last one the image unless something uses it.", 1, nil, func(_ *tree.Request, m words.Message) error {
			return c.removeImage(m.Args[0])
		}),
		job("gc", "[wait=DURATION]", "Delete what no name and no container refers to. The answer: IMAGES BYTES.", 0, nil, func(ctx context.Context, r *tree.Request, _ words.Message) error {
			return c.collect(ctx, r)
		}),
	}
}

func (c *Cloud) pull(ctx context.Context, r *tree.Request, m words.Message) error {
	o := image.PullOptions{Login: image.Login{Home: homeOf(r.Caller.UID), UID: r.Caller.UID}}
	o.Platform, _ = m.Opt("platform")
	if text, ok := m.Opt("insecure"); ok {
		on, err := words.Switch(text)
		if err != nil {
			return err
		}
		o.Insecure = on
	}
	x, err := c.Images.Pull(ctx, m.Args[0], o, nil)
	if err == nil {
		c.Events.Add("pulled", "image/"+m.Args[0], "", "digest", x.Digest)
	}
	return err
}

// removeImage answers in the write. Warm parts are no reason to keep an image, and no user's business.
func (c *Cloud) removeImage(ref string) error {
	var users []string
	if i, err := c.Images.Find(ref); err == nil {
		if users = c.imageUsers(i); len(users) == 0 {
			c.Containers.DrainImage(i.Digest)
		}
	}
	_, err := c.Images.Remove(ref)
	if fault.Is(err, fault.Busy) && len(users) > 0 {
		return fault.New(fault.Busy, "cannot remove image %s: used by %s", ref, strings.Join(users, " "))
	}
	return err
}

// openFor opens a file of this host as the caller could: the daemon's own rights are nobody else's.
func openFor(r *tree.Request, name string) (*os.File, error) {
	if !path.IsAbs(name) {
		return nil, fault.New(fault.Invalid, "%q is no absolute path", name)
	}
	var groups []uint32
	if r.Caller.Groups != nil {
		groups = r.Caller.Groups()
	}
	return image.OpenAs(name, r.Caller.UID, r.Caller.GID, groups)
}

func (c *Cloud) load(ctx context.Context, r *tree.Request, m words.Message) error {
	f, err := openFor(r, m.Args[0])
	if err != nil {
		return fault.Wrap(err, "cannot load image")
	}
	defer f.Close()
	// The files in a directory would be opened by the daemon: those of /tmp are named by whoever puts a manifest there.
	if st, err := f.Stat(); err == nil && st.IsDir() && !r.Caller.Root() {
		return fault.New(fault.Denied, "cannot load image: a directory is loaded for the host's owner only").WithHint("tar -C DIRECTORY -cf x.tar .")
	}
	list, err := c.Images.LoadFrom(ctx, f, nil)
	for _, i := range list {
		name := ""
		if len(i.Names) > 0 {
			name = i.Names[0]
		}
		r.Reply(row(name, i.Digest))
	}
	return err
}

func (c *Cloud) importTar(ctx context.Context, r *tree.Request, m words.Message) error {
	f, err := openFor(r, m.Args[0])
	if err != nil {
		return fault.Wrap(err, "cannot import image %s", m.Args[1])
	}
	defer f.Close()
	i, err := c.Images.Import(ctx, f, m.Args[1], nil)
	if err != nil {
		return err
	}
	r.Reply(row(m.Args[1], i.Digest))
	return nil
}

// collect deletes unused images. Warm parts hold some that no container uses any more: they go first.
func (c *Cloud) collect(ctx context.Context, r *tree.Request) error {
	for _, i := range c.Images.List() {
		if len(i.Names) == 0 {
			c.Containers.DrainImage(i.Digest)
		}
	}
	gone, err := c.Images.GC(ctx)
	images, bytes := strconv.Itoa(gone.Images), strconv.FormatInt(gone.Bytes, 10)
	c.Events.Add("collected", "image", "", "images", images, "bytes", bytes)
	r.Reply(row(images, bytes))
	return err
}

func (c *Cloud) imageIndex(*tree.Request) ([]byte, error) {
	var lines []string
	for _, i := range c.Images.List() {
		names := i.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, n := range names {
			lines = append(lines, row(n, i.Digest, strconv.FormatInt(i.Size, 10), stamp(i.Created), strconv.Itoa(len(c.imageUsers(i)))))
		}
	}
	sort.Strings(lines)
	return []byte(strings.Join(lines, "")), nil
}

// imageUsers are the containers that run or would start from the image.
func (c *Cloud) imageUsers(i *image.Image) []string {
	var users []string
	for _, x := range c.Containers.List() {
		if x.Status().Digest == i.Digest {
			users = append(users, "container/"+x.Meta().Name)
		}
	}
	return users
}

func (c *Cloud) imageJobs(*tree.Request) ([]byte, error) {
	var b strings.Builder
	for _, j := range c.Images.Jobs() {
		line := []string{j.Kind, j.Ref, strconv.FormatInt(j.Bytes, 10), strconv.FormatInt(j.Total, 10), string(j.Phase), strconv.Itoa(j.LayersDone), strconv.Itoa(j.Layers)}
		if j.Err != nil {
			line = append(line, j.Err.Error())
		}
		b.WriteString(row(line...))
	}
	return []byte(b.String()), nil
}

// imageRefs shows names as nested directories, cut at the slashes of the reference.
type imageRefs struct{ c *Cloud }

func (s imageRefs) names() map[string]string {
	all := map[string]string{}
	for _, i := range s.c.Images.List() {
		for _, n := range i.Names {
			all[n] = i.Digest
		}
	}
	return all
}

func (s imageRefs) Entry(_ *tree.Request, p string) (tree.Entry, error) {
	names := s.names()
	if digest, ok := names[p]; ok {
		up := strings.Repeat("../", strings.Count(p, "/")+1)
		return tree.Entry{Name: path.Base(p), Link: up + "digest/" + dashed(digest)}, nil
	}
	for n := range names {
		if strings.HasPrefix(n, p+"/") {
			return tree.Entry{Name: path.Base(p)}, nil
		}
	}
	return tree.Entry{}, fault.New(fault.NotFound, "no image %q", p)
}

func (s imageRefs) Entries(r *tree.Request, p string) ([]tree.Entry, error) {
	if p != "" {
		p += "/"
	}
	seen := map[string]bool{}
	var list []tree.Entry
	for n := range s.names() {
		rest, ok := strings.CutPrefix(n, p)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if seen[name] {
			continue
		}
		seen[name] = true
		e, err := s.Entry(r, p+name)
		if err != nil {
			continue // removed while we looked
		}
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// dashed is a digest as a file name.
func dashed(digest string) string { return strings.Replace(digest, ":", "-", 1) }

// imageDigests shows each image as a directory of files.
type imageDigests struct{ c *Cloud }

func (s imageDigests) Entry(r *tree.Request, p string) (tree.Entry, error) {
	dir, name, inner := strings.Cut(p, "/")
	i, err := s.c.Images.Find(strings.Replace(dir, "-", ":", 1))
	if err != nil || dashed(i.Digest) != dir {
		return tree.Entry{}, fault.New(fault.NotFound, "no image %q", dir)
	}
	if !inner {
		return tree.Entry{Name: dir}, nil
	}
	for _, f := range s.files(i) {
		if f.Name == name {
			return tree.Entry{Name: name, File: &f}, nil
		}
	}
	return tree.Entry{}, fault.New(fault.NotFound, "an image has no file %q", name)
}

func (s imageDigests) Entries(_ *tree.Request, p string) ([]tree.Entry, error) {
	var list []tree.Entry
	if p == "" {
		for _, i := range s.c.Images.List() {
			list = append(list, tree.Entry{Name: dashed(i.Digest)})
		}
		return list, nil
	}
	i, err := s.c.Images.Find(strings.Replace(p, "-", ":", 1))
	if err != nil {
		return nil, err
	}
	for _, f := range s.files(i) {
		list = append(list, tree.Entry{Name: f.Name, File: &f})
	}
	return list, nil
}

func (s imageDigests) files(i *image.Image) []tree.File {
	file := func(name string, kind tree.Kind, syntax, doc string, read func() ([]byte, error)) tree.File {
		return tree.File{
			Name: name, Kind: kind, Mode: 0o444, Volatile: name == "usedby", Syntax: syntax, Doc: doc,
			Read: func(*tree.Request) ([]byte, error) { return read() },
		}
	}
	text := func(s string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(s), nil } }
	var layers strings.Builder
	for _, l := range i.Layers {
		fmt.Fprintf(&layers, "%s %s %d %d\n", l.DiffID, row1(l.Digest), l.Size, l.Bytes)
	}
	return []tree.File{
		file("config", tree.Document, "JSON", "The image's configuration.", i.ConfigFile),
		file("manifest", tree.Document, "JSON", "The manifest as the registry gave it.", i.Manifest),
		file("layers", tree.Table, "DIFFID DIGEST BYTES UNPACKED", "Layers, lowest first.", text(layers.String())),
		file("size", tree.Scalar, "BYTES", "Bytes of the unpacked layers.", text(fmt.Sprintf("%d\n", i.Size))),
		file("created", tree.Scalar, "TIME", "When it was built.", text(stamp(i.Created)+"\n")),
		file("usedby", tree.List, "PATH (one a line)", "Containers that use it.", func() ([]byte, error) {
			return []byte(lines(s.c.imageUsers(i))), nil
		}),
	}
}

func row1(word string) string { return strings.TrimSuffix(row(word), "\n") }

// lines prints items that need no quoting.
func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}
