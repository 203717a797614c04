// @ts-check
/** Files as they come from a person, made ready for the service. */

import { Problem } from "./problem.js";

const QUALITY = 0.95; // of the JPEG that a photo becomes: its noise is smaller than that of the camera

/**
 * The file to send. Photos of iPhones (HEIC), which the service does not read, become JPEG if the browser can do that.
 *
 * @param {File} file
 * @returns {Promise<File>}
 * @throws {Problem} a file that cannot be opened: it would fail like a broken network
 */
export async function prepared(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Problem("The browser cannot open this file", "It may be a folder, or it changed after you chose it. Choose it again");
  }
  if (!file.size) throw new Problem("The file is empty", "Choose another one");
  return /^image\/hei[cf]/.test(file.type) || /\.hei[cf]$/i.test(file.name) ? asJpeg(file) : file;
}

/**
 * @param {File} file
 * @returns {Promise<File>}
 */
async function asJpeg(file) {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Problem(
      "This browser cannot open photos in the format HEIC",
      "Use Safari, or save the photo as JPEG. On an iPhone, Settings, Camera, Formats, Most Compatible takes JPEG photos",
    );
  });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d")?.drawImage(picture, 0, 0);
  picture.close();
  const content = await new Promise((/** @type {(made: Blob | null) => void} */ resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  if (!content) throw new Problem("The photo is too large for this browser", "Save it as JPEG, or make it smaller");
  return new File([content], file.name, { type: "image/jpeg" });
}
