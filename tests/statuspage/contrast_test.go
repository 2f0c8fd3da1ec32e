package statuspage_test

// faint are the texts whose contrast to what is behind them is less than 4.5, as WCAG 2 counts it.
const faint = `(() => {
	const rgba = (text) => {
		const v = text.match(/[\d.]+/g).map(Number);
		return v.length < 4 ? [...v, 1] : v;
	};
	const light = (c) => {
		const [r, g, b] = c.slice(0, 3).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = rgba(getComputedStyle(e).backgroundColor);
			if (c[3] === 1) return c;
		}
		return [255, 255, 255, 1];
	};
	const list = [];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n; (n = walker.nextNode()); ) {
		const e = n.parentElement;
		if (!n.data.trim() || e.closest("script, noscript, button:disabled, dialog:not([open])")) continue;
		const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
		const contrast = (a + 0.05) / (b + 0.05);
		if (contrast < 4.5) list.push(contrast.toFixed(2) + ": " + n.data.trim().slice(0, 40));
	}
	return list;
})()`
