/**
 * Processing options of imgproxy (https://docs.imgproxy.net/usage/processing, options/parser/processing_options.go)
 * that name no source. Only these are signed: an option that nobody here knows may name one.
 */
const known: ReadonlySet<string> = new Set(
  `resize rs size s resizing_type rt resizing_algorithm ra width w height h min-width mw min-height mh zoom z dpr
  enlarge el extend ex extend_aspect_ratio extend_ar exar gravity g objects_position op obj_pos crop c
  crop_aspect_ratio crop_ar car trim t padding pd auto_rotate ar rotate rot flip fl background bg background_alpha bga
  adjust a brightness br contrast co saturation sa monochrome mc duotone dt blur bl sharpen sh pixelate pix
  unsharp_masking ush blur_areas ba blur_detections bd draw_detections dd colorize col gradient gr watermark wm
  watermark_text wmt watermark_size wms watermark_rotate wm_rot wmr watermark_shadow wmsh strip_metadata sm
  keep_copyright kcr dpi strip_color_profile scp color_profile cp icc preserve_hdr ph enforce_thumbnail eth quality q
  format_quality fq autoquality aq max_bytes mb jpeg_options jpgo png_options pngo webp_options webpo avif_options avifo
  jxl_options jxlo format f ext page pg pages pgs disable_animation da video_thumbnail_second vts
  video_thumbnail_keyframes vtk video_thumbnail_tile vtt video_thumbnail_animation vta skip_processing skp raw
  cachebuster cb expires exp filename fn return_attachment att preset pr hashsum hs`.split(/\s+/),
);

/** Known, and refused: they name a further source, or lift limits of the backend. */
const refused: Readonly<Record<string, string>> = {
  watermark_url: 'names a source',
  wmu: 'names a source',
  fallback_image_url: 'names a source',
  fiu: 'names a source',
  style: 'may name a source',
  st: 'may name a source',
  max_src_resolution: 'lifts a limit',
  msr: 'lifts a limit',
  max_src_file_size: 'lifts a limit',
  msfs: 'lifts a limit',
  max_animation_frames: 'lifts a limit',
  maf: 'lifts a limit',
  max_animation_frame_resolution: 'lifts a limit',
  mafr: 'lifts a limit',
  max_result_dimension: 'lifts a limit',
  mrd: 'lifts a limit',
};

/** Why an option is not signed; undefined: it may be. */
export function optionProblem(name: string): string | undefined {
  if (known.has(name)) return undefined;
  return `the option ${name} ${Object.hasOwn(refused, name) ? refused[name] : 'is unknown here, and unknown options may name a source'}`;
}

/** Names of options that say the format of the answer. */
export const formatOptions: ReadonlySet<string> = new Set(['format', 'f', 'ext']);
export const expiryOptions: ReadonlySet<string> = new Set(['expires', 'exp']);
